"""Histories: which there are, how often, and what an event's rank makes of a window's score."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.paper.building_blocks import next_event
from logllm_core.paper.building_blocks.interface import Bench, Ids, Scorer
from logllm_core.paper.building_blocks.next_event import (
    PADDING,
    HistorySettings,
    count_pairs,
    fit_next,
    one_hot,
    slide,
    worst_ranks,
)

NUM_KNOWN = 4


class OneAfterAnother(nn.Module):
    """After an event it finds the next one likeliest, then the one after that, and so on."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))  # something to train

    def forward(self, before_BH: Tensor) -> Tensor:
        return -((torch.arange(NUM_KNOWN) - before_BH[:, -1:] - 1) % NUM_KNOWN) * self.scale


class Untrained:
    """In a trainer's place: keeps what it would train with."""

    loss: Callable[[NDArray[np.int64]], Tensor]
    num_samples: int

    def train(self, _: str, __: nn.Module, loss: Any, *, num_samples: int, settings: Any) -> None:
        self.loss, self.num_samples = loss, num_samples


def few(**changes: int) -> HistorySettings:
    return HistorySettings(**{"num_before": 3, "num_candidates": 2} | changes)


def fitted(bench: Bench, network: nn.Module, windows: list[Ids]) -> tuple[Scorer, Untrained]:
    trainer = Untrained()
    own = replace(bench, trainer=trainer)  # type: ignore[arg-type]
    return fit_next(
        "tested", network, windows, num_known=NUM_KNOWN, settings=few(), bench=own
    ), trainer


def worst(*windows: Ids, **changes: int) -> list[float]:
    device = torch.device("cpu")
    ranks = worst_ranks(windows, OneAfterAnother(), NUM_KNOWN, few(**changes), device)
    return [float(rank) for rank in ranks]


def test_each_event_follows_its_history() -> None:
    assert slide([(7, 8, 9), (5,)], num_before=2).tolist() == [
        [PADDING, PADDING, 7],
        [PADDING, 7, 8],
        [7, 8, 9],
        [PADDING, PADDING, 5],
    ]


def test_pairs_are_counted_over_all_windows() -> None:
    pairs, counts = count_pairs([(1, 1, 1), (2,), (1, 1, 1), (1,)], num_before=1)
    found = {tuple(pair): count for pair, count in zip(pairs.tolist(), counts, strict=True)}
    assert found == {(PADDING, 1): 3, (PADDING, 2): 1, (1, 1): 4}


def test_padding_and_new_events_are_zeros() -> None:
    assert one_hot(torch.tensor([[PADDING, 1, 2, 5]]), num_known=2).tolist() == [
        [[0, 0], [0, 1], [0, 0], [0, 0]]
    ]


def test_a_sample_is_an_occurrence_and_those_of_one_pair_weigh_as_often(bench: Bench) -> None:
    network = OneAfterAnother()
    windows: list[Ids] = [(0, 1), (0, 1), (0, 3)]
    _, trainer = fitted(bench, network, windows)
    assert trainer.num_samples == 6
    before_BH = torch.tensor([[PADDING] * 3, [PADDING, PADDING, 0]] * 3)
    next_B = torch.tensor([0, 1, 0, 1, 0, 3])
    expected = functional.cross_entropy(network(before_BH), next_B)
    torch.testing.assert_close(trainer.loss(np.arange(6)), expected)


def test_a_window_has_the_rank_of_its_unlikeliest_event() -> None:
    assert worst((0, 1, 2, 3), (0, 2), (0, 3, 0), (0, 1, 1)) == [1, 2, 3, 4]


def test_the_first_event_is_taken_as_it_is() -> None:
    assert worst((3,), (2, 3)) == [1, 1]


@pytest.mark.parametrize("window", [(4,), (9, 0), (0, 1, 4), (0, 1, 2, 3, 0, 1, 4)])
def test_an_event_that_training_lacks_ranks_behind_all(window: Ids) -> None:
    assert worst(window) == [5]
    assert worst(window, num_candidates=10) == [11]  # an alarm, though there are but 4 others


def test_it_is_an_alarm_where_an_event_is_not_among_the_candidates(bench: Bench) -> None:
    scorer, _ = fitted(bench, OneAfterAnother(), [(0,)])
    assert scorer([(0, 2), (0, 3), (7,)]).tolist() == [2 / 4, 3 / 5, 5 / 7]


@pytest.mark.parametrize(("name", "size"), [("NUM_EVENTS", 5), ("NUM_CELLS", 3_100)])
def test_windows_are_scored_in_parts(
    name: str, size: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[Ids] = [(0, 1, 2), (3,), (0, 2, 2, 1), (1, 4), (2,) * 9, (0, 3, 1)]
    scorer, _ = fitted(bench, OneAfterAnother(), [(0,)])
    monkeypatch.setattr(next_event, name, size)
    expected = [1 / 3, 1 / 3, 4 / 6, 5 / 7, 4 / 6, 3 / 5]
    assert scorer(windows).tolist() == pytest.approx(expected)
