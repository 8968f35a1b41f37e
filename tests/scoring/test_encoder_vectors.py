from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from logllm_core import progress
from logllm_core.errors import LogLLMError
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.model import backbones
from logllm_core.model.backbones import find_backbones
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.scoring import encoder_vectors
from logllm_core.scoring.encoder_vectors import encode_vocabulary, read_vectors
from logllm_core.store.store import Artifact
from logllm_core.training.recipes import Recipe
from tests import tiny
from tests.scoring.setting import Setting, prepare, recipe_with


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return prepare(tmp_path)


def encode(setting: Setting, recipe: Recipe, folders: BackboneFolders | None = None) -> Artifact:
    found = encode_vocabulary(
        setting.store,
        "own",
        recipe=recipe,
        folders=folders or setting.folders,
        messages=setting.messages,
    )
    assert found is not None
    return found


@torch.no_grad()
def test_the_vectors_are_the_pretrained_encoders_pooled_output(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_vectors, "GROUP_MESSAGES", 3)  # of four messages
    artifact = encode(setting, recipe_with())
    from transformers import AutoTokenizer, BertModel

    bert = BertModel.from_pretrained(setting.folders.encoder)  # in evaluation mode
    tokenizer = AutoTokenizer.from_pretrained(setting.folders.encoder)
    texts = read_vocabulary(setting.messages)
    alone = [bert(**tokenizer(text, return_tensors="pt")).pooler_output[0] for text in texts]
    found = read_vectors(artifact)
    assert found.dtype == np.float32
    assert found.shape == (4, tiny.ENCODER_WIDTH)
    np.testing.assert_allclose(found, torch.stack(alone).numpy(), rtol=0, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 0.1
    results = artifact.results
    assert (results["num_messages"], results["width"]) == (4, tiny.ENCODER_WIDTH)
    assert results["num_cut_messages"] == 0


def test_a_message_that_is_cut_is_encoded_as_what_is_left_of_it_and_counted(
    setting: Setting,
) -> None:
    artifact = encode(setting, recipe_with(max_message_tokens=3))  # [CLS], one word, [SEP]
    texts = read_vocabulary(setting.messages)
    assert artifact.results["num_cut_messages"] == sum(len(text.split()) > 1 for text in texts)
    uncut = read_vectors(encode(setting, recipe_with()))
    is_same = [np.allclose(a, b) for a, b in zip(read_vectors(artifact), uncut, strict=True)]
    assert is_same == [text == "delta" for text in texts]


def test_all_runs_on_the_same_messages_share_the_vectors(setting: Setting, tmp_path: Path) -> None:
    first = encode(setting, recipe_with(seed=0))
    file = first.path / encoder_vectors.FILE_NAME
    written = file.stat()
    others = [
        recipe_with(seed=1),
        recipe_with(**{"stages.3.learning_rate": 0.5, "batch_size": 2}),
        recipe_with(embedder="none"),
        recipe_with(embedder="message-id"),
    ]
    assert [encode(setting, recipe).path for recipe in others] == [first.path] * 4
    other_decoder = replace(setting.folders, decoder=str(tmp_path), decoder_content="other")
    assert encode(setting, recipe_with(), other_decoder).path == first.path
    found = file.stat()
    assert (found.st_ino, found.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_what_changes_the_vectors_changes_the_artifact(setting: Setting, tmp_path: Path) -> None:
    other = tmp_path / "other"
    tiny.save(other)
    config = other / "encoder" / "config.json"
    config.write_text(config.read_text().replace("1e-12", "1e-1"))
    found = {
        encode(setting, recipe_with()).fingerprint,
        encode(setting, recipe_with(max_message_tokens=3)).fingerprint,
        encode(setting, recipe_with(precision="bfloat16")).fingerprint,
        encode(
            setting,
            recipe_with(),
            find_backbones(setting.store, f"{other / 'encoder'},{other / 'decoder'}"),
        ).fingerprint,
    }
    assert len(found) == 4


def test_too_many_messages_are_not_encoded(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_vectors, "MAX_MESSAGES", 3)
    found = encode_vocabulary(
        setting.store,
        "own",
        recipe=recipe_with(),
        folders=setting.folders,
        messages=setting.messages,
    )
    assert found is None
    assert setting.store.all("vectors", "own") == []
    monkeypatch.setattr(encoder_vectors, "MAX_MESSAGES", 4)
    assert encode(setting, recipe_with())


def test_progress_is_told_message_by_message(setting: Setting) -> None:
    told: list[tuple[str, int | None, str]] = []
    amounts: list[int] = []

    class Noting:
        @contextmanager
        def track(
            self, description: str, total: int | None, unit: str
        ) -> Iterator[progress.Advance]:
            told.append((description, total, unit))
            yield amounts.append

    token = progress.display.set(Noting())
    encode(setting, recipe_with())
    progress.display.reset(token)
    assert told == [("Encoding messages", 4, "messages")]
    assert sum(amounts) == 4


def test_an_encoder_that_cannot_be_loaded_is_a_clear_error(
    setting: Setting, tmp_path: Path
) -> None:
    nowhere = BackboneFolders(
        named=setting.folders.named, encoder=str(tmp_path), decoder=setting.folders.decoder
    )
    with pytest.raises(LogLLMError, match=f"The encoder {tmp_path} cannot be loaded"):
        encode(setting, recipe_with(), nowhere)


def test_too_little_memory_is_explained(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(backbones, "load_encoder", fail)
    with pytest.raises(LogLLMError, match="Not enough memory: CUDA out of memory"):
        encode(setting, recipe_with())
