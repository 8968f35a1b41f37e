"""FastLogAD: what is masked, what replaces it, and norms that tell windows apart."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from logllm_core.paper.building_blocks.interface import Bench, Events, Training
from logllm_core.paper.building_blocks.window_classifier import padded
from logllm_core.paper.building_blocks.window_pieces import cut, grouped
from logllm_core.paper.detectors.fastlogad import (
    METHOD,
    Discriminator,
    FastLogAdSettings,
    Generator,
    fit,
    masked_at_random,
    replaced,
    separation_loss,
)
from tests.paper.planted import plant

CPU = torch.device("cpu")
SMALL = FastLogAdSettings(
    num_epochs=10, learning_rate=1e-3, width=32, num_layers=2, num_heads=2, max_piece_events=16
)


def of(**changes: int) -> FastLogAdSettings:
    return SMALL.model_copy(update=changes)


def given(windows: list[tuple[int, ...]]) -> Training:
    return Training(
        windows=windows,
        is_anomalous=np.zeros(len(windows), dtype=bool),
        events=Events(texts=["a", "b", "c", "d"], num_known=2),
    )


def test_half_of_each_windows_events_are_masked_and_at_least_one() -> None:
    _, is_event_BL = padded([(0,) * length for length in (1, 2, 5, 8)], CPU)
    torch.manual_seed(0)
    for _ in range(20):
        is_masked_BL = masked_at_random(is_event_BL, 0.5)
        assert is_masked_BL.sum(dim=1).tolist() == [1, 1, 2, 4]
        assert not (is_masked_BL & ~is_event_BL).any()


def test_each_event_is_masked_as_often_as_any_other() -> None:
    torch.manual_seed(0)
    _, is_event_BL = padded([(0,) * 4] * 4_000, CPU)
    assert masked_at_random(is_event_BL, 0.5).float().mean(dim=0) == pytest.approx(
        np.full(4, 0.5), abs=0.03
    )


def test_masked_events_become_others_and_unlikely_ones() -> None:
    torch.manual_seed(0)
    events_BL = torch.tensor([[0, 1, 2]] * 3_000)
    is_masked_BL = torch.tensor([[True, False, True]] * 3_000)
    # Where 0 stood, 1 is nearly sure to have stood, where 2 did, nothing is known of the other two.
    likely = torch.tensor([[-9.0, 9.0, -9.0, -9.0], [-9.0, -9.0, 9.0, -9.0]])
    found_BL = replaced(events_BL, is_masked_BL, likely.repeat(3_000, 1))
    assert (found_BL[:, 1] == 1).all()
    assert set(found_BL[:, 0].tolist()) == {2, 3}
    assert torch.bincount(found_BL[:, 2], minlength=4)[:2] == pytest.approx(
        np.array([1_000, 1_000]), abs=100
    )
    assert not (found_BL[:, 2] == 2).any()


def test_one_event_alone_becomes_an_unknown_one() -> None:
    one = torch.zeros((1, 1), dtype=torch.int64)
    found = replaced(one, torch.ones_like(one, dtype=torch.bool), torch.tensor([[99.0, -99.0]]))
    assert found.tolist() == [[1]]


def test_norms_of_normal_windows_shrink_and_those_of_others_grow() -> None:
    normal, unlikely = torch.tensor([2.0, 4.0]), torch.tensor([np.log(2), np.log(4)])
    # .1 * 3, and the mean of -log(1 - 1/2) and -log(1 - 1/4).
    wanted = (0.3 + (np.log(2) + np.log(4 / 3)) / 2) / 2
    assert float(separation_loss(normal, unlikely, 0.1)) == pytest.approx(wanted)
    assert np.isfinite(float(separation_loss(torch.zeros(1), torch.zeros(1), 0.1)))


def test_windows_are_grouped_by_length_and_cut_into_pieces() -> None:
    groups = grouped([(1,) * length for length in (7, 2, 3, 1, 4, 14)], CPU)
    assert [tuple(events.shape) for events, _ in groups] == [(2, 2), (2, 4), (2, 14)]
    pieces, places = cut([(1, 2, 3, 4, 5), (6,)], 2)
    assert pieces == [(1, 2), (3, 4), (5,), (6,)]
    assert places.tolist() == [0, 0, 0, 1]


def test_padding_changes_no_norm() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(3, SMALL).eval()
    windows = [(0, 1), (2, 2, 1, 0, 1)]
    alone = [discriminator.norms(*padded([ids], CPU))[0] for ids in windows]
    torch.testing.assert_close(discriminator.norms(*padded(windows, CPU)), torch.stack(alone))


def test_the_generator_does_not_see_what_it_is_asked_for() -> None:
    torch.manual_seed(0)
    generator = Generator(3, of()).eval()
    found = []
    for window in [(0, 1, 2, 0), (2, 1, 2, 0)]:
        torch.manual_seed(1)  # of the dice
        found.append(generator(*padded([window], CPU)))
    (is_masked, logits), (_, other) = found
    if is_masked[0, 0]:
        torch.testing.assert_close(logits, other)
    else:
        assert not torch.allclose(logits, other)
    assert functional.softmax(logits, dim=1).shape == (2, 4)  # three known ones and UNKNOWN


@pytest.mark.slow
def test_it_learns_what_is_planted(bench: Bench) -> None:
    planted = plant(METHOD, "content")
    scorer = fit(planted.training, SMALL, bench)
    assert planted.pr_auc(scorer) > 0.9
    assert planted.f1(scorer) > 0.8


@pytest.mark.slow
def test_it_learns_an_order_that_is_planted(bench: Bench) -> None:
    planted = plant(METHOD, "order")
    settings = SMALL.model_copy(update={"num_epochs": 40, "learning_rate": 2e-3})
    assert planted.pr_auc(fit(planted.training, settings, bench)) > 0.6  # chance is .2


def test_any_window_has_a_score_and_a_long_one_that_of_its_farthest_piece(bench: Bench) -> None:
    scorer = fit(given([(0, 1, 0, 1), (1, 0, 1)] * 10), of(num_epochs=1), bench)
    short = [(0,), (2,), (3,), (0,) * 16, (0, 1) * 8]
    scores = scorer([*short, (0,) * 16 + (0, 1) * 8, (0, 3) * 2_000])
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[1] == scores[2]  # neither was seen in training
    assert scores[5] == pytest.approx(max(scores[3], scores[4]))


def test_a_single_training_window_is_enough(bench: Bench) -> None:
    scorer = fit(given([(0,)]), of(num_epochs=1), bench)
    assert scorer([(0,)]).tolist() == [0.5]  # at the limit, no alarm
