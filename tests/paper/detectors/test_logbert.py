import numpy as np
import pytest
import torch

from logllm_core.paper.building_blocks.interface import Bench
from logllm_core.paper.building_blocks.window_classifier import padded
from logllm_core.paper.detectors import logbert
from logllm_core.paper.detectors.logbert import (
    METHOD,
    DistinctPieces,
    LogBert,
    LogBertSettings,
    are_missed,
    cut,
    fit,
    rounds_of,
    shares_missed,
    train,
)
from tests.paper.planted import Pattern, plant

CPU = torch.device("cpu")
# Of the four events of a healthy program one comes next.
SMALL = LogBertSettings(
    num_epochs=80,
    batch_size=32,
    learning_rate=1e-2,
    num_layers=1,
    width=16,
    num_heads=2,
    num_hidden=32,
    dropout=0,
    mask_fraction=0.3,
    num_candidates=1,
)


def network() -> LogBert:
    torch.manual_seed(0)
    return LogBert(3, SMALL).eval()


def test_a_long_window_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbert, "MAX_KEYS", 2)
    assert cut((5, 6, 7, 8, 9)) == [(5, 6), (7, 8), (9,)]
    pieces = DistinctPieces([(1, 2, 1, 2, 3), (3,), (1, 2, 1, 2, 3)], CPU)
    assert pieces.distinct == [(1, 2), (3,)]
    assert pieces.of_sample.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_each_key_has_its_turn_to_be_masked() -> None:
    noise_BL = torch.tensor([[0.3, 0.1, 0.2, 0.5, 0.4], [0.3, 0.1, 0.2, 0.5, 0.4]])
    is_key_BL = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    rounds = rounds_of(noise_BL, is_key_BL, 0.5)
    # Three of five at first, two of three.
    assert rounds.tolist() == [[0, 0, 0, 1, 1], [1, 0, 0, -1, -1]]


def test_a_single_key_is_masked() -> None:
    assert rounds_of(torch.rand(1, 1), torch.ones(1, 1, dtype=torch.bool), 0.15).tolist() == [[0]]


def test_a_masked_key_is_not_seen_and_a_new_one_is_read_as_masked() -> None:
    found = network()
    keys_BL, is_key_BL = padded([(0, 1, 2), (0, 2, 2), (0, 3, 2), (0, 7, 2)], CPU)
    is_masked_BL = torch.tensor([[False, True, False]] * 2 + [[False, False, True]] * 2)
    dist_BD, logits_MK = found(keys_BL, is_key_BL, is_masked_BL)
    assert logits_MK.shape == (4, 3)
    torch.testing.assert_close(logits_MK[0], logits_MK[1])
    torch.testing.assert_close(logits_MK[2], logits_MK[3])
    torch.testing.assert_close(dist_BD[2], dist_BD[3])
    assert not torch.allclose(dist_BD[0], dist_BD[2])


def test_padding_changes_nothing_and_places_count() -> None:
    found = network()
    alone, _ = found(*padded([(0, 1)], CPU), torch.zeros(1, 2, dtype=torch.bool))
    keys_BL, is_key_BL = padded([(0, 1), (2, 2, 2, 2), (1, 0)], CPU)
    beside, _ = found(keys_BL, is_key_BL, torch.zeros_like(is_key_BL))
    torch.testing.assert_close(beside[0], alone[0])
    assert not torch.allclose(beside[0], beside[2])


def test_a_key_is_missed_unless_it_is_among_the_likeliest() -> None:
    logits_MK = torch.tensor([[3.0, 2.0, 1.0]] * 4)
    assert are_missed(logits_MK, torch.tensor([0, 1, 2, 3]), num_candidates=2).tolist() == [
        False,
        False,
        True,
        True,
    ]


def test_the_share_of_misses_is_over_all_keys_of_all_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logbert, "MAX_KEYS", 4)
    found = network()
    found.output.weight.data.zero_()
    found.output.bias.data = torch.tensor([1.0, 2.0, 0.0])  # 1 is always the likeliest
    windows = [(1, 1, 0, 1, 2, 1, 3), (1,), (3,), (0, 1)]
    shares = shares_missed(found, windows, torch.rand(4), SMALL)
    assert shares.tolist() == pytest.approx([3 / 7, 0, 1, 1 / 2])


def test_the_center_is_the_mean_of_the_training_windows(bench: Bench) -> None:
    found = network()
    settings = SMALL.model_copy(update={"num_epochs": 1, "learning_rate": 1e-12})
    noise_L = torch.rand(logbert.MAX_KEYS)
    windows = [(0, 1, 2)] * 3 + [(2, 1)]
    train(found, DistinctPieces(windows, CPU), noise_L, settings, bench)
    keys_BL, is_key_BL = padded(windows, CPU)
    is_masked_BL = rounds_of(noise_L[:3].expand(4, 3), is_key_BL, SMALL.mask_fraction) == 0
    dist_BD, _ = found(keys_BL, is_key_BL, is_masked_BL)
    torch.testing.assert_close(found.center_D, dist_BD.mean(dim=0).detach())


def test_the_center_is_in_the_checkpoints() -> None:
    assert [name for name, _ in network().named_buffers()] == ["center_D"]


def test_training_draws_the_vectors_of_windows_together(bench: Bench) -> None:
    windows = [(0, 1, 2), (2, 1), (1, 1, 0, 0), (2,)] * 4
    keys_BL, is_key_BL = padded(windows, CPU)
    found = network()

    def spread() -> float:
        dist_BD, _ = found(keys_BL, is_key_BL, torch.zeros_like(is_key_BL))
        return float(dist_BD.detach().var(dim=0).sum())

    before = spread()
    settings = SMALL.model_copy(update={"hypersphere_weight": 10.0})
    train(found, DistinctPieces(windows, CPU), torch.rand(logbert.MAX_KEYS), settings, bench)
    assert spread() < 0.1 * before


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["order", "content"])
def test_it_learns_a_planted_pattern(pattern: Pattern, bench: Bench) -> None:
    planted = plant(METHOD, pattern)
    scorer = fit(planted.training, SMALL, bench)
    assert planted.pr_auc(scorer) > 0.95
    assert planted.f1(scorer) > 0.85


def test_an_alarm_is_a_share_of_misses_that_held_out_windows_do_not_pass(bench: Bench) -> None:
    planted = plant(METHOD, "order", num_train=40)
    # With as many candidates as known keys only a new one is missed.
    settings = SMALL.model_copy(update={"num_epochs": 1, "num_candidates": 4})
    scorer = fit(planted.training, settings, bench)
    none, one, all_of_them = scorer([(0, 1, 2, 3), (0, 1, 2, 9), (9, 9)])
    assert none == 0
    assert 0.5 < one < all_of_them < 1


def test_a_score_does_not_hang_on_the_windows_beside(bench: Bench) -> None:
    planted = plant(METHOD, "order", num_train=40)
    scorer = fit(planted.training, SMALL.model_copy(update={"num_epochs": 2}), bench)
    together = scorer(planted.windows)
    alone = [float(scorer([window])[0]) for window in planted.windows[:10]]
    assert together[:10].tolist() == alone


def test_new_short_and_long_windows_have_scores(bench: Bench) -> None:
    planted = plant(METHOD, "content", num_train=40)
    scorer = fit(planted.training, SMALL.model_copy(update={"num_epochs": 1}), bench)
    new = planted.training.events.num_known
    assert new < len(planted.training.events.texts)
    scores = scorer([(new,), (0,), (new,) * 5_000, (0, 1, 2, new) * 500])
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[0] == scores[2] >= scores[3]
