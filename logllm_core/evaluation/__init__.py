"""What the answers are worth: metrics, baselines, the report."""
