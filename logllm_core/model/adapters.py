"""Adapters beside frozen linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685), by PEFT."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from logllm_core.errors import LogLLMError
from logllm_core.model.dropout import QuickDropout

BITSANDBYTES = "bitsandbytes"


class Lora(NamedTuple):  # in the words of PEFT's LoraConfig
    """Which layers of a backbone have adapters, and what these are like."""

    r: int
    lora_alpha: int
    lora_dropout: float
    target_modules: tuple[str, ...]  # the last part of their names


# Section V-B and the reference code.
ENCODER_LORA = Lora(r=4, lora_alpha=32, lora_dropout=0.01, target_modules=("query", "value"))
DECODER_LORA = Lora(r=8, lora_alpha=16, lora_dropout=0.1, target_modules=("q_proj", "v_proj"))


def add_adapters(backbone: nn.Module, lora: Lora) -> None:
    """Freeze a backbone, and put a fresh adapter, drawn from torch's generator, on its layers.

    The adapters are float32, whatever the backbone is in.

    Raises:
        LogLLMError: it has no such layers.
    """
    backbone.requires_grad_(False)
    names = {name.rpartition(".")[2] for name, _ in backbone.named_modules()}
    if not names.issuperset(lora.target_modules):
        raise LogLLMError(
            f"The model is a {type(backbone).__name__} without layers named "
            f"{' and '.join(lora.target_modules)}, which the adapters belong to. Choose other "
            "--backbones."
        )
    is_quantized = any(p.dtype == torch.uint8 for p in backbone.parameters())
    with _bitsandbytes_seen(is_quantized):
        from peft import LoraConfig, inject_adapter_in_model

        inject_adapter_in_model(LoraConfig(**lora._asdict()), backbone)
    for name, parameter in backbone.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    numbers = {name: number for number, name in enumerate(sorted(lora.target_modules))}
    for name, module in list(backbone.named_modules()):
        if name.endswith("lora_dropout"):
            dropout = QuickDropout(lora.lora_dropout, numbers[name.split(".")[-2]])
            module.set_submodule("default", dropout)


@contextmanager
def _bitsandbytes_seen(is_wanted: bool) -> Iterator[None]:
    """Whether PEFT sees bitsandbytes: where that is installed, it imports it for any backbone, and
    so `torch._dynamo`, which takes longer than all the rest.
    """
    if is_wanted or BITSANDBYTES in sys.modules:
        importlib.import_module(BITSANDBYTES)
        _ask_again()
        yield
        return
    sys.modules[BITSANDBYTES] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        yield
    finally:
        del sys.modules[BITSANDBYTES]


def _ask_again() -> None:
    """PEFT remembers whether it saw bitsandbytes, and may have loaded a plain backbone before."""
    availability = importlib.import_module("peft.import_utils")
    availability.is_bnb_available.cache_clear()
    availability.is_bnb_4bit_available.cache_clear()
