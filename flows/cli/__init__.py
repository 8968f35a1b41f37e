"""The command `logllm`: one file a group of commands."""
