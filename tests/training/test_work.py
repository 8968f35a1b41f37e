"""What a stage does before its first step."""

import pytest
import torch

from logllm_core.model.scoring import encode_windows
from logllm_core.training import work
from tests import tiny
from tests.training import small


@pytest.mark.parametrize(
    ("most", "encoded"), [(4, [(0, 1, 2, 3)]), (3, [(0, 2)]), (2, [(0, 2)]), (1, [(0,)])]
)
def test_of_many_messages_some_align_the_projector_evenly_over_the_log(
    most: int, encoded: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MOST_ALIGNED", most)
    model, expected = tiny.model(), tiny.model()
    work.align(model, tiny.collator(small.TEXTS, of=model), small.windows(small.TRAIN))
    vectors = encode_windows(expected, tiny.collator(small.TEXTS, of=expected), encoded)
    assert vectors is not None
    expected.align_projector(vectors.vectors_ME)
    assert model.projector is not None
    assert expected.projector is not None
    assert torch.equal(model.projector.weight, expected.projector.weight)
    assert torch.equal(model.projector.bias, expected.projector.bias)
    assert not torch.equal(model.projector.bias, tiny.model().projector.bias)  # type: ignore[union-attr]


def test_text_has_no_projector_to_align() -> None:
    model = tiny.model(embedder="none")
    collator = tiny.collator(small.TEXTS, of=model, embedder="none")
    work.align(model, collator, small.windows(small.TRAIN))
    assert model.projector is None
