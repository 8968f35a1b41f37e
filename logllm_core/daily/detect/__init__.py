"""New logs on their way: lines in, verdicts written down and told."""
