"""The paper's experiments: every method of its Table II on one footing, and its ablations."""
