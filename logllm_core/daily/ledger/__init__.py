"""How far each log was read, and the verdicts that were written."""
