"""Which pooling an encoder's folder, a table and a recipe ask for, and that it is heeded."""

import json
from pathlib import Path

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.model import Pooling
from logllm_core.model.backbones import find_backbones
from logllm_core.model.sources.named_backbones import BACKBONES
from logllm_core.model.sources.pooling import POOLING, published_pooling
from logllm_core.store.store import Json, Store
from tests import tiny


def encoder_that_says(content: Json, folder: Path) -> str:
    path = folder / "encoder" / POOLING
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder / "encoder")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"embedding_dimension": 4, "pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_an_encoder_pools_as_its_folder_says(
    content: Json, expected: Pooling, tmp_path: Path
) -> None:
    assert published_pooling(encoder_that_says(content, tmp_path)) == expected


def test_an_encoder_that_does_not_say_pools_as_bert_does(tmp_path: Path) -> None:
    assert published_pooling(str(tmp_path)) == "pooler"
    # Neither a folder nor a hub id: that it is not there is told when it is loaded.
    assert published_pooling(str(tmp_path / "nothing")) == "pooler"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"pooling_mode_max_tokens": True}, "pools by max_tokens"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, "max_tokens, mean"),
        ({"pooling_mode_mean_tokens": False}, "pools by nothing"),
        ({}, "pools by nothing"),
        ([1], "does not say how"),
        ("{", "does not say how"),
        ("[" * 100_000, "does not say how"),
    ],
)
def test_a_pooling_that_is_not_offered_is_one_clear_error(
    content: Json, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(LogLLMError, match=rf"{reason}.*--set pooling=mean"):
        published_pooling(encoder_that_says(content, tmp_path))


def test_the_table_says_how_each_of_its_encoders_pools() -> None:
    assert {name: row.pooling for name, row in BACKBONES.items()} == {
        "small": "mean",
        "llama3.2-1b": "pooler",
        "llama3-8b": "pooler",
    }


def test_a_recipe_s_pooling_comes_before_that_of_the_folder(tmp_path: Path) -> None:
    name = tiny.save(tmp_path)
    store = Store(data_dir=tmp_path)
    assert find_backbones(store, name).pooling == "pooler"
    encoder_that_says({"pooling_mode_mean_tokens": True}, tmp_path)
    assert find_backbones(store, name).pooling == "mean"
    assert find_backbones(store, name, "cls").pooling == "cls"


def test_another_pooling_is_another_identity(tmp_path: Path) -> None:
    name = tiny.save(tmp_path)
    store = Store(data_dir=tmp_path)
    one, other = (find_backbones(store, name, pooling).identity for pooling in ("mean", "cls"))
    assert one == {**other, "pooling": "mean"}
