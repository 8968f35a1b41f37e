"""Adapters: which layers have them, and with which dropout."""

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from logllm_core.errors import LogLLMError
from logllm_core.model import Part
from logllm_core.model.adapters import DECODER_LORA, add_adapters
from logllm_core.model.weights import set_trainable
from tests import tiny

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer


def adapted(part: Part) -> dict[str, "LoraLayer"]:
    """The layers of a tiny model that have adapters, by name."""
    from peft.tuners.lora import LoraLayer

    modules = getattr(tiny.model(), part).named_modules()
    return {name: layer for name, layer in modules if isinstance(layer, LoraLayer)}


@pytest.mark.parametrize(
    ("part", "rank", "alpha", "layers"),
    [("encoder", 4, 32, {"query", "value"}), ("decoder", 8, 16, {"q_proj", "v_proj"})],
)
def test_lora_settings_are_the_papers_and_the_references(
    part: Part, rank: int, alpha: int, layers: set[str]
) -> None:
    held = adapted(part)
    assert len(held) == 2 * 2  # of each of two layers
    assert {name.rpartition(".")[2] for name in held} == layers
    assert {layer.lora_A["default"].out_features for layer in held.values()} == {rank}
    assert {layer.scaling["default"] for layer in held.values()} == {alpha / rank}


@pytest.mark.parametrize(("part", "probability"), [("encoder", 0.01), ("decoder", 0.1)])
def test_every_adapter_has_the_quick_dropout_with_its_probability(
    part: Part, probability: float
) -> None:
    held = adapted(part)
    for layer in held.values():
        assert layer.lora_dropout["default"].num_dropped == round(probability * 65_536)
    # Both adapters of a layer read the same tensor; their numbers keep their masks apart, and are
    # the same in all layers, so that one compiled layer serves for all.
    numbers = {
        (name.rpartition(".")[2], layer.lora_dropout["default"].number)
        for name, layer in held.items()
    }
    assert len(numbers) == 2
    assert {number for _, number in numbers} == {0, 1}


def test_an_adapters_dropout_is_its_input_dropped() -> None:
    model = tiny.model()
    set_trainable(model, ("decoder",))
    layer = model.decoder.model.layers[0].self_attn.q_proj
    nn.init.ones_(layer.lora_B["default"].weight)
    x = torch.ones(1, tiny.DECODER_WIDTH)
    torch.manual_seed(0)
    dropped = layer.lora_dropout["default"](x)
    expected = layer.base_layer(x) + 2.0 * (dropped @ layer.lora_A["default"].weight.T).sum()
    torch.manual_seed(0)
    torch.testing.assert_close(layer(x), expected)
    assert not torch.equal(dropped, x)


def test_a_model_without_the_layers_is_refused() -> None:
    with pytest.raises(LogLLMError, match="a BertModel without layers named q_proj and v_"):
        add_adapters(tiny.encoder(), DECODER_LORA)


IMPORTED = """
import sys
import torch
from torch import nn
from logllm_core.model.adapters import DECODER_LORA, add_adapters


def layers(make):
    backbone = nn.Sequential()
    for name in DECODER_LORA.target_modules:
        backbone.add_module(name, make(64, 64, bias=False))
    return backbone


plain = layers(nn.Linear)
add_adapters(plain, DECODER_LORA)
print("bitsandbytes" in sys.modules, type(plain.q_proj).__module__)
from bitsandbytes.nn import Linear4bit
quantized = layers(Linear4bit).to("cpu")
quantized.is_loaded_in_4bit = True  # as transformers says of what it quantised
add_adapters(quantized, DECODER_LORA)
print(type(quantized.q_proj).__module__)
"""


@pytest.mark.slow
def test_a_plain_backbone_needs_no_bitsandbytes_and_a_quantized_one_after_it_has_it() -> None:
    run = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["False", "peft.tuners.lora.layer", "peft.tuners.lora.bnb"]
