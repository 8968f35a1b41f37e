from pathlib import Path

import pytest

from logllm_core.model import Pooling
from logllm_core.records import seal
from logllm_core.store import Artifact, Json
from logllm_core.training.trained import pooling_of


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
