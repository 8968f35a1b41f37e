"""Hostile inputs by the million: `python -m tests.fuzzing --inputs 1000000`.

A fuzzer makes one input from a seeded generator, tries it, and returns in a word what became of it.
What must not happen raises; the input's number makes it happen again.
"""
