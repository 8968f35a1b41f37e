import numpy as np
import pytest
import torch

from logllm_core.paper.building_blocks.interface import Bench
from logllm_core.paper.building_blocks.next_event import PADDING
from logllm_core.paper.detectors import loganomaly
from logllm_core.paper.detectors.loganomaly import (
    METHOD,
    LogAnomaly,
    LogAnomalySettings,
    fit,
    match,
)
from tests.paper.planted import Pattern, plant

# Of the four events of a healthy program one comes next. The tiny encoder finds all texts alike.
SMALL = LogAnomalySettings(
    num_epochs=30,
    batch_size=512,
    learning_rate=1e-2,
    num_units=16,
    num_candidates=1,
    min_similarity=1.0,
)
# Known: along the first axis, along the second. New: nearly the first, between both, nothing.
VECTORS = np.array([[2, 0], [0, 1], [9, 0.1], [1, 1], [0, 0]], dtype=np.float32)


def network() -> LogAnomaly:
    torch.manual_seed(0)
    return LogAnomaly(torch.from_numpy(VECTORS[:4]), 2, LogAnomalySettings(num_units=4))


def test_a_new_template_is_taken_for_a_known_one_of_nearly_its_meaning() -> None:
    assert match(VECTORS, num_known=2, min_similarity=0.9).tolist() == [0, 1, 0, 3, 4]


def test_the_nearest_one_counts_however_far_if_the_limit_is_low() -> None:
    assert match(VECTORS, num_known=2, min_similarity=0.7).tolist() == [0, 1, 0, 0, 4]


def test_new_templates_are_matched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loganomaly, "NUM_COMPARED", 1)
    assert match(VECTORS, num_known=2, min_similarity=0.9).tolist() == [0, 1, 0, 3, 4]


def test_it_reads_meanings_and_counts() -> None:
    found = network()
    before_BH = torch.tensor([[PADDING, 1, 3, 1]])
    meanings, _ = found.lstms["meanings"](torch.tensor([[[0, 0], [0, 1], [1, 1], [0, 1.0]]]))
    # The new template, 3, is counted nowhere.
    counts, _ = found.lstms["counts"](torch.tensor([[[0, 0], [0, 1], [0, 1], [0, 2.0]]]))
    expected = found.output(torch.cat([meanings[:, -1], counts[:, -1]], dim=1))
    torch.testing.assert_close(found(before_BH), expected)


def test_checkpoints_need_not_hold_the_vectors() -> None:
    assert not dict(network().named_buffers())


@pytest.mark.parametrize("pattern", ["order", "content"])
def test_it_learns_a_planted_pattern(pattern: Pattern, bench: Bench) -> None:
    planted = plant(METHOD, pattern)
    scorer = fit(planted.training, SMALL, bench)
    assert planted.pr_auc(scorer) > 0.95
    assert planted.f1(scorer) > 0.95


def test_a_new_template_like_a_known_one_is_no_alarm(bench: Bench) -> None:
    planted = plant(METHOD, "order", num_train=40)
    new = planted.training.events.num_known
    settings = SMALL.model_copy(update={"num_epochs": 1, "min_similarity": -1.0})
    assert fit(planted.training, settings, bench)([(new,), (0,)]).tolist() == [0.5, 0.5]


def test_new_short_and_long_windows_have_scores(bench: Bench) -> None:
    planted = plant(METHOD, "content", num_train=40)
    scorer = fit(planted.training, SMALL.model_copy(update={"num_epochs": 1}), bench)
    new = planted.training.events.num_known
    assert new < len(planted.training.events.texts)
    scores = scorer([(new,), (0,), (new,) * 5_000, (0, 1, 2, new) * 500])
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (scores > 0.5).tolist() == [True, False, True, True]
