"""What the answers are worth: metrics, baselines, the report."""

MODEL = "LogLLM"  # as the reports call it, beside the other detectors
