from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.paper.building_blocks import window_classifier
from logllm_core.paper.building_blocks.interface import Bench, Events, Ids, Training
from logllm_core.paper.building_blocks.window_classifier import (
    ClassifierSettings,
    batches,
    cut_windows,
    fit_classifier,
    padded,
)

SETTINGS = ClassifierSettings(num_epochs=60, batch_size=8, learning_rate=0.1, max_window_events=4)


class Counting(nn.Module):
    """Logits from how often each of three events occurs; notes the windows it was given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weights = nn.Embedding(3, 2)
        self.seen: list[int] = []

    def forward(self, events_BL: Tensor, is_event_BL: Tensor) -> Tensor:
        self.seen.append(len(events_BL))
        found: Tensor = (self.weights(events_BL) * is_event_BL[..., None]).sum(dim=1)
        return found


class KeepingTrainer:
    """Trains nothing, and keeps the loss that it was given."""

    loss: Any

    def train(self, name: str, network: nn.Module, loss: Any, **_: Any) -> None:
        self.loss = loss


def training(windows: Sequence[Ids], labels: Sequence[int]) -> Training:
    return Training(
        windows=windows,
        is_anomalous=np.array(labels, dtype=bool),
        events=Events(texts=["a", "b", "c"], num_known=3),
    )


def test_windows_are_padded_at_the_end() -> None:
    events_BL, is_event_BL = padded([(3, 1), (2,), (5, 0, 4)], torch.device("cpu"))
    assert events_BL.tolist() == [[3, 1, 0], [2, 0, 0], [5, 0, 4]]
    assert is_event_BL.int().tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]


def test_a_longer_window_is_cut_at_its_end_and_the_others_stay() -> None:
    assert cut_windows("x", [(1, 2, 3), (4,), (5, 6)], 2) == [(1, 2), (4,), (5, 6)]


def test_batches_hold_windows_of_like_length_up_to_a_number_of_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_classifier, "NUM_CELLS", 6)
    windows = [(0,) * length for length in (1, 3, 9, 2, 3)]
    # The one of 9 alone; two of 3; then those of 2 and 1.
    assert list(batches(windows)) == [[2], [1, 4], [3, 0]]


def test_the_loss_is_the_mean_over_the_samples_and_each_distinct_window_is_read_once(
    bench: Bench,
) -> None:
    windows = [(0, 1), (0, 1), (2,), (0, 1), (2, 2, 2, 2, 1), (2, 2, 2, 2)]
    labels = [0, 0, 1, 1, 1, 0]
    network, trainer = Counting(), KeepingTrainer()
    fit_classifier(
        *("x", network, training(windows, labels), SETTINGS),
        replace(bench, trainer=trainer),  # type: ignore[arg-type]
    )
    samples = np.array([5, 0, 3, 1, 4, 2])
    found = trainer.loss(samples)
    # After four events the last two windows are the same one, once normal and once anomalous.
    assert network.seen == [3]
    logits = network(*padded([windows[place][:4] for place in samples], torch.device("cpu")))
    wanted = functional.cross_entropy(logits, torch.tensor([labels[place] for place in samples]))
    torch.testing.assert_close(found, wanted)
    found.backward()
    (gradient,) = torch.autograd.grad(wanted, [network.weights.weight])
    torch.testing.assert_close(network.weights.weight.grad, gradient)


def test_scores_are_the_probability_of_anomalous_in_the_order_of_the_windows(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = training([(0,), (1, 1), (0, 2), (0, 1)] * 4, [0, 1, 0, 1] * 4)
    network = Counting()
    score = fit_classifier("x", network, learned, SETTINGS, bench)
    windows = [(1,), (0, 0, 0), (0, 2), (1, 1, 1, 1, 0, 0)]
    scores = score(windows)
    assert (scores > 0.5).tolist() == [True, False, False, True]
    with torch.no_grad():
        logits = network(*padded([ids[:4] for ids in windows], torch.device("cpu")))
    np.testing.assert_allclose(scores, logits.softmax(dim=1)[:, 1], rtol=1e-5)
    monkeypatch.setattr(window_classifier, "NUM_CELLS", 1)  # each alone
    np.testing.assert_allclose(score(windows), scores, rtol=1e-6)


def test_no_windows_have_no_scores(bench: Bench) -> None:
    score = fit_classifier("x", Counting(), training([(0,), (1,)], [0, 1]), SETTINGS, bench)
    assert score([]).shape == (0,)
