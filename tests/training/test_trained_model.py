"""A model as a stage left it: what it is loaded from has to be what it was."""

import json
from pathlib import Path

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.model import Pooling
from logllm_core.model.backbones import find_backbones
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.store.sealed_json import seal
from logllm_core.store.store import Artifact, Json
from logllm_core.training.trained_model import WEIGHTS, load_weights, pooling_of
from tests.scoring.setting import CPU, Setting, prepare


@pytest.mark.parametrize(
    ("backbones", "expected"),
    [
        ({"encoder": "small", "pooling": "mean"}, "mean"),
        ({"encoder": "small"}, "pooler"),  # trained before pooling was a setting
    ],
)
def test_a_model_is_loaded_with_the_pooling_that_it_was_trained_with(
    backbones: Json, expected: Pooling, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_bytes(seal({"config": {"backbones": backbones}}))
    trained = Artifact(kind="models", dataset="own", fingerprint="ab" * 8, path=tmp_path)
    assert pooling_of(trained) == expected


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return prepare(tmp_path)


def load(setting: Setting, folders: BackboneFolders) -> None:
    load_weights(folders, setting.recipe, setting.trained, device=CPU)


def flip_a_bit(path: Path) -> None:
    """In the middle of the last tensor; time and size may stay as they were."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def test_weights_with_a_flipped_bit_are_refused(setting: Setting) -> None:
    load(setting, setting.folders)
    flip_a_bit(setting.trained.path / WEIGHTS)
    with pytest.raises(LogLLMError, match=rf"{WEIGHTS} is missing or not as it was written"):
        load(setting, setting.folders)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_backbones_that_changed_under_their_adapters_are_refused(
    setting: Setting, part: str
) -> None:
    """Their names, their sizes and their shapes are the same."""
    named = setting.folders.named
    backbones = f"{named.encoder},{named.decoder}"
    (weights,) = Path(getattr(named, part)).glob("*.safetensors")
    written = weights.read_bytes()
    flip_a_bit(weights)
    changed = find_backbones(setting.store, backbones)
    with pytest.raises(LogLLMError, match=rf"The {part} in .* is another one than the model"):
        load(setting, changed)
    weights.write_bytes(written)
    load(setting, find_backbones(setting.store, backbones))


def test_who_saved_a_model_is_no_other_model(setting: Setting) -> None:
    named = setting.folders.named
    config = Path(named.encoder) / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"transformers_version": "0.0.1"}, indent=7))
    load(setting, find_backbones(setting.store, f"{named.encoder},{named.decoder}"))


@pytest.mark.parametrize("content", [b"", b"[1]", b"7", b'{"a":' * 100_000])
def test_a_damaged_configuration_is_one_clear_error(setting: Setting, content: bytes) -> None:
    named = setting.folders.named
    (Path(named.decoder) / "config.json").write_bytes(content)
    with pytest.raises(LogLLMError, match=r"config\.json is damaged: .*Restore it\."):
        find_backbones(setting.store, f"{named.encoder},{named.decoder}")
