"""The store: what was built, kept whole, and reused."""
