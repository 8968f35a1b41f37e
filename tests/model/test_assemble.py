import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logllm_core.model.assemble import kept_layers, leave_out_layers

SIZES: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


@pytest.mark.parametrize(
    ("num_layers", "depth", "expected"),
    [
        (30, 0.67, [*range(12), *range(22, 30)]),
        (6, 0.5, [0, 1, 5]),
        (6, 1.0, [0, 1, 2, 3, 4, 5]),
        (5, 0.01, [0, 4]),
        (2, 0.5, [0, 1]),
        (1, 0.5, [0]),
    ],
)
def test_layers_past_the_middle_go(num_layers: int, depth: float, expected: list[int]) -> None:
    assert kept_layers(num_layers, depth) == expected


@given(st.integers(1, 100), st.floats(0.01, 1.0))
def test_what_is_kept_is_a_beginning_and_an_end(num_layers: int, depth: float) -> None:
    kept = kept_layers(num_layers, depth)
    assert kept == sorted(set(kept))
    assert kept[0] == 0
    assert kept[-1] == num_layers - 1
    assert len(kept) == max(round(depth * num_layers), min(num_layers, 2))
    assert sum(after - before > 1 for before, after in pairwise(kept)) <= 1


@pytest.mark.parametrize("kind", ["llama", "several kinds of attention"])
def test_a_shortened_decoder_is_one_whose_left_out_layers_pass_everything_on(kind: str) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    decoder: LlamaForCausalLM | Qwen2ForCausalLM
    if kind == "llama":
        decoder = LlamaForCausalLM(LlamaConfig(**SIZES))
    else:
        kinds = ["full_attention"] * 2 + ["sliding_attention"] * 4
        sliding: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 2}
        decoder = Qwen2ForCausalLM(Qwen2Config(**SIZES, **sliding, layer_types=kinds))
    whole = copy.deepcopy(decoder)
    with torch.no_grad():
        for layer in whole.model.layers[2:5]:  # without what they add, the residual stream is left
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    leave_out_layers(decoder, 0.5)
    assert len(decoder.model.layers) == decoder.config.num_hidden_layers == 3
    tokens = torch.randint(20, (2, 5))
    found, expected = (model(tokens, use_cache=False).logits for model in (decoder, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
