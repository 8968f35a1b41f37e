"""From messages to labelled windows and splits, and the same of lines that still come."""
