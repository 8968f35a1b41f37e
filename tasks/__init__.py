"""How a step is run: names, Prefect artifacts. A body is one call into `logllm_core`."""
