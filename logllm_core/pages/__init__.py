"""How answers are shown: pages, their pictures, markdown, and figures as text."""

MODEL = "LogLLM"  # as the reports call it, beside the other detectors
