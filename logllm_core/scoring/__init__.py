"""The model's answers about windows."""

DECISION = 0.5  # the verdict is the more likely answer
