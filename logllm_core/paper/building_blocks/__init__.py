"""What the other methods are made of."""
