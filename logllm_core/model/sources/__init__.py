"""Where backbones come from: folders, GGUF files, hubs."""
