"""The model that judges new logs: how it is chosen, and when it no longer fits."""
