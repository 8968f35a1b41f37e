"""The model's answers about windows."""
