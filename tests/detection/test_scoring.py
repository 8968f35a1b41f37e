import pytest

from logllm_core.detection.scoring import BATCH_SIZE, score_windows
from tests import tiny

TEXTS = ["alpha read ok", "beta", "gamma disk failed", "delta write"]


def test_probabilities_are_in_the_order_of_the_windows_across_batches() -> None:
    model = tiny.model()
    vocabulary = tiny.vocabulary(TEXTS)
    windows = [(i % 4, (i // 4) % 4, i % 3) for i in range(BATCH_SIZE + 5)]
    together = score_windows(model, vocabulary, windows)
    for place in (0, 7, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 4):
        (alone,) = score_windows(model, vocabulary, [windows[place]])
        assert together[place] == pytest.approx(alone, rel=1e-5)
    assert len(set(together.round(9))) > 10


def test_no_windows_have_no_probabilities() -> None:
    assert score_windows(tiny.model(), tiny.vocabulary(TEXTS), []).shape == (0,)
