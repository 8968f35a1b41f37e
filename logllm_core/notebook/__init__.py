"""The library, for a notebook or a program of one's own: `import logllm_core as logllm`."""
