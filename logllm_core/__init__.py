"""What each step of LogLLM does (arXiv 2411.08561). Knows nothing of Prefect, tasks or flows."""
