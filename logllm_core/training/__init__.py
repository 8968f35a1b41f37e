"""The three training stages (paper, section IV-C)."""
