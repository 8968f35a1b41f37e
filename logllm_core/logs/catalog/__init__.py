"""Data sets as values."""
