import pytest
import torch

from logllm_core.errors import LogLLMError
from logllm_core.model import PARTS, Embedder
from logllm_core.model.weights import (
    KNOWN_IDS,
    load_trainable_state,
    trainable_parameters,
    trainable_state,
)
from tests import tiny

EMBEDDERS: tuple[Embedder, ...] = ("encoder", "message-id", "none")
# r (inputs + outputs) for each of two layers and two adapted products:
# encoder 4 * (16 + 16); decoder 8 * (32 + 32) for q_proj and 8 * (32 + 16) for v_proj.
ENCODER, PROJECTOR, DECODER = 2 * 2 * 4 * 32, 16 * 32 + 32, 2 * (8 * 64 + 8 * 48)


@pytest.mark.parametrize(
    ("embedder", "numbers"),
    [
        ("encoder", [ENCODER, PROJECTOR, DECODER]),
        ("message-id", [5 * 16, PROJECTOR, DECODER]),  # four known messages, and all others
        ("none", [0, 0, DECODER]),
    ],
)
def test_adapters_projector_and_id_vectors_may_be_trained(
    embedder: Embedder, numbers: list[int]
) -> None:
    model = tiny.model(embedder=embedder)
    named = [list(trainable_parameters(model, part)) for part in PARTS]
    assert [sum(weights.numel() for _, weights in found) for found in named] == numbers
    for part, found in zip(PARTS, named, strict=True):
        assert all(model.get_parameter(name) is weights for name, weights in found)
        assert all(name.startswith(f"{part}.") for name, _ in found)


@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_trained_weights_come_back_bit_for_bit(embedder: Embedder) -> None:
    model, other = (tiny.model(seed=seed, embedder=embedder) for seed in (1, 2))
    state = trainable_state(model)
    assert any(not torch.equal(state[n], v) for n, v in trainable_state(other).items())
    load_trainable_state(other, state)
    found = trainable_state(other)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_the_messages_that_ids_stand_for_come_back_too() -> None:
    model, other = (tiny.model(embedder="message-id") for _ in range(2))
    model.encoder.known_ids.copy_(torch.tensor([2, 3, 5, 700]))
    load_trainable_state(other, trainable_state(model))
    messages = torch.tensor([700, 0, 5])
    assert torch.equal(other.encode(messages), model.encode(messages))
    assert other.encode(messages).any(dim=1).tolist() == [True, False, True]


def test_a_state_is_a_copy() -> None:
    model = tiny.model()
    state = trainable_state(model)
    assert model.projector is not None
    torch.nn.init.constant_(model.projector.bias, 1)
    assert not torch.equal(state["projector.bias"], model.projector.bias)


@pytest.mark.parametrize(
    ("embedder", "name"),
    [
        ("encoder", "projector.weight"),
        ("message-id", "encoder.embedding.weight"),
        ("message-id", KNOWN_IDS),
        ("none", "decoder.model.layers.0.self_attn.q_proj.lora_A.default.weight"),
    ],
)
def test_weights_of_another_shape_are_refused_and_nothing_is_changed(
    embedder: Embedder, name: str
) -> None:
    state = trainable_state(tiny.model(seed=1, embedder=embedder))
    state[name] = torch.zeros(3, 3)
    model = tiny.model(seed=2, embedder=embedder)
    before = trainable_state(model)
    with pytest.raises(LogLLMError, match=rf"1 tensors differ, first {name}\)\. Load them with"):
        load_trainable_state(model, state)
    assert all(torch.equal(before[n], value) for n, value in trainable_state(model).items())


def test_weights_of_another_embedder_are_refused() -> None:
    state = trainable_state(tiny.model(embedder="message-id"))
    with pytest.raises(LogLLMError, match=r"4 tensors differ, first encoder\.embedding\.weight"):
        load_trainable_state(tiny.model(embedder="none"), state)
