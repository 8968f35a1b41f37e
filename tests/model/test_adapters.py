"""Adapters, held to PEFT's, which only these tests import."""

from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from logllm_core.errors import LogLLMError
from logllm_core.model import Part
from logllm_core.model.adapters import DECODER_LORA, ENCODER_LORA, Adapted, Lora, add_adapters
from logllm_core.model.dropout import QuickDropout
from logllm_core.model.weights import set_trainable
from tests import tiny


def adapted(part: Part) -> dict[str, Adapted]:
    """The layers of a tiny model that have adapters, by name."""
    modules = getattr(tiny.model(), part).named_modules()
    return {name: layer for name, layer in modules if isinstance(layer, Adapted)}


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
    assert {len(layer.get_parameter("lora_A.default.weight")) for layer in held.values()} == {rank}
    assert {layer.scaling for layer in held.values()} == {alpha / rank}


@pytest.mark.parametrize(("part", "probability"), [("encoder", 0.01), ("decoder", 0.1)])
def test_every_adapter_has_the_quick_dropout_with_its_probability(
    part: Part, probability: float
) -> None:
    held = adapted(part)
    for layer in held.values():
        assert layer.lora_dropout.num_dropped == round(probability * 65_536)
    # Both adapters of a layer read the same tensor; their numbers keep their masks apart, and are
    # the same in all layers, so that one compiled layer serves for all.
    numbers = {(name.rpartition(".")[2], layer.lora_dropout.number) for name, layer in held.items()}
    assert len(numbers) == 2
    assert {number for _, number in numbers} == {0, 1}


def test_an_adapters_dropout_is_its_input_dropped() -> None:
    model = tiny.model()
    set_trainable(model, ("decoder",))
    layer = model.decoder.model.layers[0].self_attn.q_proj
    nn.init.ones_(layer.lora_B["default"].weight)
    x = torch.ones(1, tiny.DECODER_WIDTH)
    torch.manual_seed(0)
    dropped = layer.lora_dropout(x)
    expected = layer.base_layer(x) + 2.0 * (dropped @ layer.lora_A["default"].weight.T).sum()
    torch.manual_seed(0)
    torch.testing.assert_close(layer(x), expected)
    assert not torch.equal(dropped, x)


def test_a_model_without_the_layers_is_refused() -> None:
    with pytest.raises(LogLLMError, match="a BertModel without linear layers named q_proj and v_"):
        add_adapters(tiny.encoder(), DECODER_LORA)


def of_peft(backbone: nn.Module, lora: Lora) -> None:
    """The same adapters by PEFT, with the dropout of here."""
    backbone.requires_grad_(False)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.layers))
    inject_adapter_in_model(config, backbone)
    for name, parameter in backbone.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    for name, module in list(backbone.named_modules()):
        if name.endswith("lora_dropout"):
            number = sorted(lora.layers).index(name.split(".")[-2])
            module.set_submodule("default", QuickDropout(lora.dropout, number))


def backbone_of(lora: Lora, weights: str) -> nn.Module:
    """One layer of each name, and one that gets no adapter."""
    torch.manual_seed(0)
    backbone = nn.Sequential()
    for name in (*lora.layers, "other"):
        layer = nn.Linear(64, 64, bias=False)
        if weights == "nf4":
            four_bits = Linear4bit(64, 64, bias=False)
            four_bits.load_state_dict(layer.state_dict())
            layer = four_bits.to("cpu")
            assert layer.weight.dtype == torch.uint8
        backbone.add_module(name, layer)
    return backbone.bfloat16() if weights == "bfloat16" else backbone


def passed(backbone: Any, states: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """What comes out of layers with adapters that say something, and the adapters' gradients."""
    trained = {name: p for name, p in backbone.named_parameters() if "lora_" in name}
    dice = torch.Generator().manual_seed(1)
    for name, parameter in trained.items():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=dice)
        parameter.requires_grad_(True)
    backbone.train()
    torch.manual_seed(2)
    result = backbone(states)
    result.float().square().sum().backward()
    return result, {name: p.grad for name, p in trained.items() if p.grad is not None}


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "nf4"])
@pytest.mark.parametrize("lora", [ENCODER_LORA, DECODER_LORA], ids=["encoder", "decoder"])
def test_names_weights_results_and_gradients_are_peft_s_to_the_bit(
    lora: Lora, weights: str
) -> None:
    found = []
    for add in (of_peft, add_adapters):
        backbone = backbone_of(lora, weights)
        add(backbone, lora)
        fresh = {name: p.clone() for name, p in backbone.named_parameters()}
        states = torch.randn(3, 64).to(torch.bfloat16 if weights == "bfloat16" else torch.float32)
        found.append((fresh, *passed(backbone, states)))
    (theirs, their_result, their_gradients), (ours, result, gradients) = found
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert torch.equal(result, their_result)
    assert len(gradients) == 4
    assert all(torch.equal(gradients[name], their_gradients[name]) for name in their_gradients)
