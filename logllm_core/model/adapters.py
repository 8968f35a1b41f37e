"""Adapters beside frozen linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685).

Names and fresh weights are PEFT's, to the bit, and a test holds them to it. PEFT itself takes more
than a second to import, half of it for the quantisation of models that are not quantised.
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from logllm_core.errors import LogLLMError
from logllm_core.model.dropout import QuickDropout


class Lora(NamedTuple):
    """Which layers of a backbone have adapters, and what these are like."""

    rank: int
    alpha: int
    dropout: float
    layers: tuple[str, ...]  # the last part of their names


# Section V-B and the reference code.
ENCODER_LORA = Lora(rank=4, alpha=32, dropout=0.01, layers=("query", "value"))
DECODER_LORA = Lora(rank=8, alpha=16, dropout=0.1, layers=("q_proj", "v_proj"))


class Adapted(nn.Module):
    """A frozen linear layer, and what its adapter adds: B(A(dropout(x))) times alpha / rank.

    Args:
        base_layer: perhaps in 4 bits; the adapter is float32 in any case.
        number: another one for each that reads the same tensor; see `QuickDropout`.
    """

    def __init__(self, base_layer: nn.Linear, lora: Lora, number: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.scaling = lora.alpha / lora.rank
        self.lora_dropout = QuickDropout(lora.dropout, number)
        down = nn.Linear(base_layer.in_features, lora.rank, bias=False)
        up = nn.Linear(lora.rank, base_layer.out_features, bias=False)
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
        nn.init.zeros_(up.weight)  # a fresh adapter adds nothing
        # PEFT's numbers pass through the format of the weights that they stand beside.
        weight = base_layer.weight
        dtype = weight.dtype if weight.is_floating_point() else torch.float32
        self.lora_A = nn.ModuleDict({"default": down.to(weight.device, dtype).float()})
        self.lora_B = nn.ModuleDict({"default": up.to(weight.device)})

    def forward(self, x: Tensor) -> Tensor:
        down, up = (cast(nn.Linear, half["default"]) for half in (self.lora_A, self.lora_B))
        result: Tensor = self.base_layer(x)
        added: Tensor = up(down(self.lora_dropout(x.to(down.weight.dtype)))) * self.scaling
        return (result + added).to(result.dtype)


def add_adapters(backbone: nn.Module, lora: Lora) -> None:
    """Freeze a backbone, and put a fresh adapter, drawn from torch's generator, on its layers.

    Raises:
        LogLLMError: it has no such layers.
    """
    backbone.requires_grad_(False)
    numbers = {name: number for number, name in enumerate(sorted(lora.layers))}
    chosen = [
        (name, layer)
        for name, layer in backbone.named_modules()
        if name.rpartition(".")[2] in numbers and isinstance(layer, nn.Linear)
    ]
    if not chosen:
        raise LogLLMError(
            f"The model is a {type(backbone).__name__} without linear layers named "
            f"{' and '.join(lora.layers)}, which the adapters belong to. Choose other --backbones."
        )
    for path, layer in chosen:
        parent, _, name = path.rpartition(".")
        setattr(backbone.get_submodule(parent), name, Adapted(layer, lora, numbers[name]))
