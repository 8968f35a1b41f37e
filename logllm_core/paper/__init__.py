"""What only the paper's comparison needs."""
