"""The LogLLM model: encoder -> projector -> decoder (paper, section IV-B)."""
