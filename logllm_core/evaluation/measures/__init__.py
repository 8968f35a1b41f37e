"""What answers are worth, in numbers."""
