from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from logllm_core.errors import LogLLMError
from logllm_core.model import PARTS, Embedder, Part, Quantization, backbones
from logllm_core.model.assemble import assemble, text_encoder
from logllm_core.model.backbones import Loaded, Loading
from logllm_core.model.dropout import QuickDropout
from logllm_core.model.encoders import IdEncoder, TextEncoder
from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import EncoderInput
from logllm_core.model.sources.named_backbones import (
    BackboneFolders,
    backbones_named,
    resolve_package,
)
from logllm_core.model.sources.pooling import published_pooling
from logllm_core.model.weights import set_trainable
from logllm_core.store.store import Store
from tests import tiny
from tests.model.compiling import lets_torch_warn, needs_compiler

CPU = torch.device("cpu")
TEXTS = ["alpha ok", "beta failed", "gamma read write"]
WINDOWS = [(0, 0), (0, 1, 2), (1,)]
LABELS = [False, True, False]


def tiny_folders(tmp_path: Path) -> BackboneFolders:
    return backbones.find_backbones(Store(data_dir=tmp_path), tiny.save(tmp_path / "tiny"))


def load(folders: BackboneFolders, known_ids: Tensor | None = None, **settings: Any) -> Loaded:
    torch.manual_seed(0)
    loading = Loading(device=CPU, dtype=torch.float32, **settings)
    return backbones.load_backbones(folders, loading, known_ids)


def is_in_4_bits(module: nn.Module) -> bool:
    return type(module).__module__.startswith("bitsandbytes.")  # which takes a second to import


def without_pooler() -> nn.Module:
    from transformers import BertModel

    return BertModel(tiny.encoder().config, add_pooling_layer=False)


def losses(model: LogLLM, *, num_steps: int, embedder: Embedder = "encoder") -> list[float]:
    """Of a few steps on three windows, with dropout of the adapters."""
    parameters = set_trainable(model, PARTS)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
    collator = tiny.collator(TEXTS, model, embedder=embedder)
    found = []
    torch.manual_seed(1)
    for _ in range(num_steps):
        loss = model(collator.training_batch(WINDOWS, LABELS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def test_the_papers_backbones_are_in_the_table() -> None:
    row = backbones_named("llama3-8b")
    assert row.decoder == "meta-llama/Meta-Llama-3-8B"
    assert row.encoder == "google-bert/bert-base-uncased"


def test_unknown_backbones_are_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(LogLLMError, match=r'named "tiny"\. Known: small, llama3\.2-1b, llama3-8b'):
        backbones_named("tiny")


def test_a_missing_package_is_an_error_that_names_it() -> None:
    with pytest.raises(LogLLMError, match="pip install --no-deps --force-reinstall no-such-models"):
        resolve_package("package:no_such_models/model")


def test_a_folder_without_a_model_is_one_clear_error(tmp_path: Path) -> None:
    folders = backbones.find_backbones(Store(data_dir=tmp_path), f"{tmp_path},{tmp_path}")
    with pytest.raises(LogLLMError, match="cannot be loaded"):
        load(folders)


def test_a_gguf_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogLLMError, match=r"no file /no/such\.gguf\. Mend --backbones"):
        backbones.find_backbones(Store(data_dir=tmp_path), f"{tmp_path},/no/such.gguf")


def test_the_encoder_alone_is_the_pretrained_one_without_adapters(tmp_path: Path) -> None:
    folders = tiny_folders(tmp_path)
    loading = Loading(device=CPU, dtype=torch.float32)
    encoder, tokenizer = backbones.load_encoder(folders, loading)
    assert not [name for name, _ in encoder.named_parameters() if "lora" in name]
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(module.training for module in encoder.modules())
    # A fresh adapter adds nothing, so the model's own encoder says the same.
    whole = load(folders).model
    messages = tiny.vocabulary(TEXTS).encoder_input(np.arange(3))
    torch.testing.assert_close(encoder(messages), whole.encode(messages))
    found = tokenizer(TEXTS, truncation=True, max_length=16)["input_ids"]
    assert found == tiny.vocabulary(TEXTS).token_ids


def test_an_encoder_alone_of_another_architecture_is_refused(tmp_path: Path) -> None:
    folders = tiny_folders(tmp_path)
    loading = Loading(device=CPU, dtype=torch.float32)
    with pytest.raises(LogLLMError, match="The encoder is a LlamaModel without a pooler"):
        backbones.load_encoder(replace(folders, encoder=folders.decoder), loading)
    with pytest.raises(LogLLMError, match=r"The encoder /no/model cannot be loaded: .* Give hub"):
        backbones.load_encoder(replace(folders, encoder="/no/model"), loading)


def test_the_encoder_alone_may_be_in_four_bits(tmp_path: Path) -> None:
    folders = tiny_folders(tmp_path)
    loading = Loading(device=CPU, dtype=torch.float32, quantization="nf4")
    encoder, _ = backbones.load_encoder(folders, loading)
    layers = [module for module in encoder.modules() if is_in_4_bits(module)]
    assert len(layers) >= 2 * 6
    whole = load(folders, quantization="nf4").model
    set_trainable(whole, ())
    messages = tiny.vocabulary(TEXTS).encoder_input(np.arange(3))
    torch.testing.assert_close(encoder(messages), whole.encode(messages))


def test_models_of_another_architecture_are_refused() -> None:
    with pytest.raises(LogLLMError, match="The encoder is a BertModel without a pooler"):
        text_encoder(without_pooler())
    text_encoder(without_pooler(), "mean")
    with pytest.raises(LogLLMError, match="The decoder is a BertModel; a Llama-like model"):
        assemble(None, tiny.encoder(), tiny.decoder_tokenizer())


CHOICES: list[tuple[Part, ...]] = [
    (),
    ("decoder",),
    ("projector",),
    ("projector", "encoder"),
    ("encoder", "projector", "decoder"),
]


@pytest.mark.parametrize("parts", CHOICES)
def test_only_the_chosen_parts_train(parts: tuple[Part, ...]) -> None:
    model = tiny.model()
    set_trainable(model, PARTS)
    chosen = set_trainable(model, parts)
    for name, parameter in model.named_parameters():
        is_of_part = name.split(".")[0] in parts
        is_trained = is_of_part and ("lora_" in name or name.startswith("projector"))
        assert parameter.requires_grad == is_trained, name
        assert (name in chosen) == is_trained, name


@pytest.mark.parametrize("parts", CHOICES)
@pytest.mark.parametrize("has_lora_dropout", [True, False])
@pytest.mark.parametrize("has_encoder_dropout", [True, False])
def test_dropout_is_on_where_it_is_asked_for_in_parts_that_train(
    parts: tuple[Part, ...], has_lora_dropout: bool, has_encoder_dropout: bool
) -> None:
    model = tiny.model()
    set_trainable(model, PARTS, has_encoder_dropout=True)
    set_trainable(
        model, parts, has_lora_dropout=has_lora_dropout, has_encoder_dropout=has_encoder_dropout
    )
    for name, module in model.named_modules():
        part = name.split(".")[0]
        if isinstance(module, QuickDropout):
            assert module.training == (part in parts and has_lora_dropout), name
        elif isinstance(module, nn.Dropout) or name.endswith("attention.self"):
            is_on = part == "encoder" and part in parts and has_encoder_dropout
            assert module.training == is_on, name
        elif part != "encoder":
            assert not module.training, name


def test_by_default_the_adapters_drop_and_the_encoder_does_not() -> None:
    model = tiny.model()
    set_trainable(model, PARTS)
    kinds = {
        (type(module).__name__, module.training)
        for module in model.modules()
        if isinstance(module, QuickDropout | nn.Dropout)
    }
    assert kinds == {("QuickDropout", True), ("Dropout", False)}


@pytest.mark.parametrize("setting", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_both_kinds_of_the_encoders_own_dropout_drop(setting: str) -> None:
    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, setting: 0.5}
    bert = tiny.encoder()
    bert.config.update(settings)
    encoder = text_encoder(type(bert)(bert.config))
    model = assemble(encoder, tiny.decoder(), tiny.decoder_tokenizer())
    messages: EncoderInput = tiny.vocabulary(TEXTS).encoder_input(torch.arange(3).numpy())
    for is_on in (True, False):
        set_trainable(model, PARTS, has_lora_dropout=False, has_encoder_dropout=is_on)
        assert torch.equal(model.encode(messages), model.encode(messages)) != is_on


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_models_load_from_folders_and_train_with_and_without_quantisation(
    tmp_path: Path, quantization: Quantization
) -> None:
    loaded = load(tiny_folders(tmp_path), quantization=quantization)
    model = loaded.model
    is_quantised = any(is_in_4_bits(module) for module in model.modules())
    assert is_quantised == (quantization == "nf4")
    text = loaded.encoder_tokenizer(["alpha"], truncation=True, max_length=9)["input_ids"]
    assert text == tiny.vocabulary(["alpha"]).token_ids
    found = losses(model, num_steps=12)
    assert found[-1] < found[0] / 2
    set_trainable(model, ())
    collator = tiny.collator(TEXTS, model)
    ((_, batch),) = collator.scoring_batches(WINDOWS)
    assert torch.isfinite(model.answer_log_probabilities(batch)).all()
    assert losses(model, num_steps=1)[0] < found[0] / 2  # and it can go on


def test_4_bit_layers_stay_in_training_mode_where_all_else_is_ready_to_score(
    tmp_path: Path,
) -> None:
    model = load(tiny_folders(tmp_path), quantization="nf4").model
    for parts in (PARTS, ()):
        set_trainable(model, parts)
        assert all(m.training for m in model.modules() if is_in_4_bits(m))
    assert not any(m.training for m in model.modules() if isinstance(m, QuickDropout))


def test_an_id_encoder_is_as_wide_as_the_encoder_that_it_stands_for(tmp_path: Path) -> None:
    model = load(tiny_folders(tmp_path), torch.tensor([2, 0]), embedder="message-id").model
    assert isinstance(model.encoder, IdEncoder)
    assert model.encoder.known_ids.tolist() == [0, 2]
    assert model.encoder.embedding.weight.shape == (3, tiny.ENCODER_WIDTH)
    found = losses(model, num_steps=12, embedder="message-id")
    assert found[-1] < found[0] / 2


def test_without_embedder_there_is_neither_encoder_nor_projector(tmp_path: Path) -> None:
    model = load(tiny_folders(tmp_path), embedder="none").model
    assert model.encoder is None
    assert model.projector is None
    found = losses(model, num_steps=12, embedder="none")
    assert found[-1] < found[0] / 2


def test_the_question_may_be_another(tmp_path: Path) -> None:
    folders = tiny_folders(tmp_path)
    usual, other = load(folders).model, load(folders, question="Is this normal?").model
    words = tiny.decoder_tokenizer().convert_ids_to_tokens(list(other.prompt.question))
    assert words == ["Is", "this", "normal", "?"]
    assert usual.prompt.introduction == other.prompt.introduction


def test_a_share_of_the_decoder_s_layers_is_loaded(tmp_path: Path) -> None:
    folders = tiny_folders(tmp_path)
    config = tiny.decoder().config
    config.num_hidden_layers = 6
    type(tiny.decoder())(config).save_pretrained(folders.decoder)
    whole, half = (load(folders, decoder_depth=depth).model.decoder.model for depth in (1.0, 0.5))
    assert (len(whole.layers), len(half.layers)) == (6, 3)
    for found, kept in zip(half.layers, [0, 1, 5], strict=True):  # 2, 3 and 4 are left out
        assert torch.equal(found.mlp.up_proj.weight, whole.layers[kept].mlp.up_proj.weight)


def test_frozen_weights_have_the_number_format_and_trained_ones_are_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    loading = Loading(device=CPU, dtype=torch.bfloat16)
    model = backbones.load_backbones(tiny_folders(tmp_path), loading).model
    trained = set_trainable(model, PARTS)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if name in trained else torch.bfloat16), name
    assert isinstance(model.encoder, TextEncoder)
    found = losses(model, num_steps=12)
    assert found[-1] < found[0] / 2


@pytest.mark.slow
@needs_compiler
@lets_torch_warn
def test_compiled_layers_train_and_score_as_plain_ones(tmp_path: Path) -> None:
    folders = tiny_folders(tmp_path)
    plain, compiled = (load(folders, is_compiled=is_on).model for is_on in (False, True))
    torch.testing.assert_close(
        losses(compiled, num_steps=5), losses(plain, num_steps=5), rtol=1e-4, atol=0
    )
    found = []
    for model in (plain, compiled):
        set_trainable(model, ())
        ((_, batch),) = tiny.collator(TEXTS, model).scoring_batches(WINDOWS)
        found.append(model.answer_log_probabilities(batch))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_gguf_decoder_is_saved_again_once_and_says_the_same(tmp_path: Path) -> None:
    store = Store(data_dir=tmp_path)
    folders = backbones.find_backbones(store, "small")
    again = backbones.find_backbones(store, "small")
    assert folders == again
    # As the encoder's own folder says, too.
    assert folders.pooling == published_pooling(folders.encoder) == "mean"
    loaded = load(folders)
    model = loaded.model
    assert model.projector is not None
    assert model.projector.weight.shape == (576, 384)
    found = loaded.encoder_tokenizer(["a"], truncation=True, max_length=9)["input_ids"]
    assert found == [[101, 1037, 102]]
    # SmolLM2's tokenizer adds no BOS: the introduction's first token is its first word.
    assert model.prompt.num_shared_answer_tokens == 3
    assert [len(answer) for answer in model.prompt.answers] == [6, 6]
    # The language model still speaks, through the same weights.
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folders.decoder)
    tokens = words("The capital of France is", return_tensors="pt").input_ids
    hidden = model.decoder.model(input_ids=tokens).last_hidden_state[:, -1]
    assert words.decode(model.decoder.lm_head(hidden).argmax()) == " Paris"


def test_recomputed_activations_change_no_loss_and_are_recomputed(tmp_path: Path) -> None:
    folders = tiny_folders(tmp_path)
    found, num_passes = [], []
    for is_on in (False, True):
        model = load(folders, recomputes_activations=is_on).model
        passed: list[None] = []
        model.decoder.model.layers[0].mlp.register_forward_pre_hook(
            lambda *_, passed=passed: passed.append(None)
        )
        found.append(losses(model, num_steps=4))
        num_passes.append(len(passed))
        set_trainable(model, ())  # to score, nothing is kept and nothing recomputed
        assert not model.decoder.model.layers[0].training
    # The second loss follows from the first gradient, with the same elements dropped.
    assert found[0] == found[1]
    assert num_passes == [4, 8]
