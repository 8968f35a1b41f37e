"""How a step is run: retries, names, Prefect artifacts. A body is one call into `logllm_core`."""
