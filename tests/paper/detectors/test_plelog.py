"""PLELog: clusters and known windows make labels, and a network learns these."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from logllm_core.paper.building_blocks.fitting import Loss
from logllm_core.paper.building_blocks.interface import Bench, Events, Training
from logllm_core.paper.building_blocks.window_classifier import fit_classifier, padded
from logllm_core.paper.detectors.plelog import (
    METHOD,
    NO_CLUSTER,
    AttentionGru,
    Clusters,
    PlelogSettings,
    cluster,
    fit,
    guess,
    known_windows,
    reduce,
    sums_of,
)
from tests.paper.planted import plant

CPU = torch.device("cpu")
SMALL = PlelogSettings(num_epochs=20, batch_size=32, learning_rate=1e-2, num_states=16)


def dice() -> np.random.Generator:
    return np.random.default_rng(0)


def test_half_of_the_normal_windows_are_known_and_no_anomalous_one() -> None:
    is_anomalous = np.array([True, False, False, True, False, False, True])
    is_known = known_windows(is_anomalous, 0.5, dice())
    assert is_known.sum() == 2
    assert not is_known[is_anomalous].any()
    assert known_windows(np.array([True, False]), 0.5, dice()).tolist() == [False, True]


def test_a_window_is_the_sum_of_its_events_vectors() -> None:
    vectors = np.array([[1, 0], [0, 2], [5, 5]], dtype=np.float32)
    assert sums_of([(0, 1, 1), (2,)], vectors).tolist() == [[1, 4], [5, 5]]


def test_sums_are_whitened_over_windows_not_over_bags() -> None:
    # Three windows at 0, one at 2: the mean is .5, the variance .75. The second axis is constant.
    reduced = reduce(np.array([[0.0, 7.0], [2.0, 7.0]]), np.array([3, 1]), 50)
    assert reduced.shape == (2, 1)
    assert abs(reduced[:, 0]) == pytest.approx([0.5 / 0.75**0.5, 1.5 / 0.75**0.5])


def test_the_directions_of_the_greatest_variance_are_kept() -> None:
    sums = dice().normal(size=(200, 3)) * [1, 100, 10]
    reduced = reduce(sums, np.ones(200, dtype=np.int64), 2)
    assert np.cov(reduced.T, bias=True) == pytest.approx(np.eye(2), abs=1e-9)
    assert abs(np.corrcoef(reduced[:, 1], sums[:, 1])[0, 1]) > 0.99  # the greatest comes last


def test_clusters_keep_groups_apart_and_windows_that_are_not_drawn_go_with_the_nearest() -> None:
    spots = dice().normal(size=(300, 2)) * 0.01 + np.repeat([[0, 0], [5, 5], [9, 0]], 100, axis=0)
    windows = np.arange(300)
    for settings in (SMALL, SMALL.model_copy(update={"max_clustered": 150})):
        found = cluster(spots, windows, settings, dice()).clusters_W.reshape(3, 100)
        most = [int(np.bincount(own[own >= 0]).argmax()) for own in found]
        assert len(set(most)) == 3
        for own, number in zip(found, most, strict=True):
            assert set(own.tolist()) <= {number, NO_CLUSTER}
            assert (own == number).mean() > 0.9


@pytest.mark.parametrize("num_windows", [1, 2, 40])
def test_windows_that_are_all_the_same_are_in_no_cluster(num_windows: int) -> None:
    same = np.zeros(num_windows, dtype=np.int64)
    found = cluster(reduce(np.ones((1, 4)), np.array([num_windows]), 50), same, SMALL, dice())
    assert (found.clusters_W == NO_CLUSTER).all()


def test_a_window_is_guessed_by_its_cluster_and_by_what_is_known() -> None:
    clusters = Clusters(
        clusters_W=np.array([0, 0, 0, 1, NO_CLUSTER, NO_CLUSTER, NO_CLUSTER]),
        strengths_W=np.array([0.2, 1.0, 0.5, 0.5, 0.0, 0.0, 0.0]),
    )
    bags = np.array([0, 1, 2, 3, 4, 4, 5])
    is_known = np.array([True, False, False, False, True, False, False])
    # Known: 0. Cluster 0 holds a known one: normal, the second surely, the third by 1 - .5 / 2.
    # Cluster 1 holds none: anomalous by as much. In no cluster: the known one's bag, and another.
    assert guess(clusters, bags, is_known).tolist() == [0, 0, 0.25, 0.75, 0, 0, 1]


def test_padding_changes_no_logit() -> None:
    torch.manual_seed(0)
    network = AttentionGru(torch.randn(3, 4), SMALL).eval()
    windows = [(0, 1), (2, 2, 1, 0, 1)]
    together = network(*padded(windows, CPU))
    alone = [network(*padded([ids], CPU))[0] for ids in windows]
    torch.testing.assert_close(together, torch.stack(alone))


def test_the_network_learns_the_guessed_probabilities(bench: Bench) -> None:
    class Keeping:
        def train(self, *found: Any, rate: Callable[[int], float], **_: Any) -> None:
            self.loss: Loss = found[2]
            self.rates = [rate(step) for step in (0, 999, 1_000, 2_500)]

    trainer = Keeping()
    network = nn.Sequential()
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    network.forward = lambda *_: logits  # type: ignore[method-assign]
    given = Training(
        windows=[(0,), (1,), (0,)],
        is_anomalous=np.array([True, True, True]),
        events=Events(texts=["a", "b"], num_known=2),
    )
    fit_classifier(
        *("x", network, given, SMALL),
        replace(bench, trainer=trainer),  # type: ignore[arg-type]
        chances_W=np.array([0.25, 1.0, 0.75]),
        rate=lambda step: 1.0 / (step + 1),
    )
    # The two samples of the first window have the mean chance .5.
    wanted = functional.cross_entropy(
        logits[[0, 1, 0]], torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.5, 0.5]])
    )
    torch.testing.assert_close(trainer.loss(np.arange(3)), wanted)
    assert trainer.rates[0] == 1


@pytest.mark.slow
def test_it_learns_what_is_planted_without_an_anomalous_label(bench: Bench) -> None:
    planted = plant(METHOD, "content")
    scorer = fit(planted.training, SMALL, bench)
    assert planted.pr_auc(scorer) > 0.9
    assert planted.f1(scorer) > 0.8


def test_any_window_has_a_score(bench: Bench) -> None:
    settings = SMALL.model_copy(update={"num_epochs": 1})
    given = Training(
        windows=[(0,), (1, 0), (0, 1, 1)],
        is_anomalous=np.array([False, False, True]),
        events=Events(texts=["read alpha", "<*>", "failed disk", "<*> 7"], num_known=2),
    )
    scores = fit(given, settings, bench)([(0,), (3,), (2, 3) * 2_000])
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
