"""The LogLLM model: encoder -> projector -> decoder (paper, section IV-B)."""

from typing import Literal

Part = Literal["encoder", "projector", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "projector", "decoder")
Quantization = Literal["nf4", "none"]
# What stands between a message and the decoder: the pretrained encoder and the projector; a learned
# vector an id and the projector (Table IV, template id); nothing, messages are text (Table V).
Embedder = Literal["encoder", "message-id", "none"]
# How the encoder's token states become a message's vector: BERT's own pooler (dense and tanh on
# [CLS]; paper, section IV-B1), the mean over the message's tokens, or the bare state of [CLS].
Pooling = Literal["pooler", "mean", "cls"]
POOLINGS: tuple[Pooling, ...] = ("pooler", "mean", "cls")
# Of frozen weights and of products; what trains stays float32. "auto": what the device multiplies
# fastest, so that another machine's rounding may differ.
Precision = Literal["auto", "float32", "bfloat16"]
