"""New logs, day after day."""
