"""The LogLLM model: encoder -> projector -> decoder (paper, section IV-B)."""

from typing import Literal

Part = Literal["encoder", "projector", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "projector", "decoder")
Quantization = Literal["nf4", "none"]
