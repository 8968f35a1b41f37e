from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from logllm_core.model.logllm import LogLLM
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import score_log_odds
from logllm_core.scoring import rounding
from logllm_core.scoring.rounding import (
    Rounding,
    chosen,
    has_cheap_float32,
    in_batches_of,
    in_float32,
    measure_rounding,
)
from tests import tiny
from tests.model.test_window_answers import TEXTS, Window, some_windows

WINDOWS: list[Window] = [(0,), (1,), (0,), (2,), (3,)]
LOG_ODDS = np.array([1.0, -0.25, 1.0, 0.5, -3.0])


def off_by(**differences: float) -> rounding.Way:
    """A way that gives each window of WINDOWS its log-odds and a difference, by its message."""

    def scored(windows: Sequence[Window]) -> NDArray[np.float64]:
        stands = dict(zip(WINDOWS, LOG_ODDS, strict=True))
        return np.array([stands[(n,)] + differences.get(f"of_{n}", 0) for (n,) in windows])

    return scored


def test_half_of_the_windows_compared_are_the_nearest_and_half_evenly_chosen() -> None:
    margins = np.array([5, 0.5, 9, 7, 0.1, 8, 6, 4.0])
    # The nearest two are at 4 and 1; of the others 0, 2, 3, 5, 6, 7 each third is taken.
    assert chosen(margins, 4) == [0, 1, 4, 5]


@pytest.mark.parametrize("number", [0, 1, 8, 9, 16])
def test_few_windows_are_all_compared(number: int) -> None:
    assert chosen(np.arange(number, 0, -1, dtype=np.float64)) == list(range(number))


@pytest.mark.parametrize("number", [17, 24, 1_000, 100_000])
def test_many_windows_cost_no_more_than_a_bounded_number(number: int) -> None:
    found = chosen(np.ones(number))
    assert rounding.MOST_COMPARED / 2 < len(set(found)) == len(found) <= rounding.MOST_COMPARED


def test_windows_that_tie_or_are_infinitely_far_are_chosen_all_the_same() -> None:
    assert chosen(np.full(6, np.inf), 4) == [0, 1, 2, 4]


def test_the_largest_difference_of_any_way_is_how_far_rounding_moves_log_odds() -> None:
    ways = {"small": off_by(of_0=0.25, of_3=-0.5), "large": off_by(of_1=-0.75, of_2=0.5)}
    found = measure_rounding(WINDOWS, LOG_ODDS, np.abs(LOG_ODDS), ways)
    assert found == Rounding(num_windows=4, by_way={"small": 0.5, "large": 0.75})
    assert found.log_odds == 0.75


def test_each_distinct_window_is_compared_once() -> None:
    asked: list[Window] = []

    def way(windows: Sequence[Window]) -> NDArray[np.float64]:
        asked.extend(windows)
        return off_by()(windows)

    measure_rounding(WINDOWS, LOG_ODDS, np.abs(LOG_ODDS), {"way": way})
    assert sorted(asked) == [(0,), (1,), (2,), (3,)]


def test_windows_nearer_to_the_decision_than_rounding_are_counted_with_repeats() -> None:
    found = Rounding(num_windows=4, by_way={"way": 0.5, "other": 0.1})
    assert found.num_within(np.array([0.4, 0.5, 0.0, 0.4, 0.6])) == 3  # .5 is not nearer than .5


def test_no_windows_differ_by_nothing() -> None:
    model = tiny.model()
    ways = {"few": in_batches_of(4, model, tiny.collator(TEXTS, model))}
    found = measure_rounding([], np.empty(0), np.empty(0), ways)
    assert found == Rounding(num_windows=0, by_way={"few": 0.0})


@pytest.mark.parametrize("number", [1, 4])
def test_so_many_windows_are_a_batch_and_their_messages_are_encoded_for_them(number: int) -> None:
    model = tiny.model()
    collator = tiny.collator(TEXTS, model)
    set_trainable(model, ())
    windows = list(dict.fromkeys(some_windows(0, 20)))
    expected = score_log_odds(model, collator, windows)
    num_encoded: list[int] = []
    model.encoder.register_forward_hook(lambda *given: num_encoded.append(len(given[-1])))
    found = in_batches_of(number, model, collator)(windows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    parts = [windows[start : start + number] for start in range(0, len(windows), number)]
    assert num_encoded == [len({m for window in part for m in window}) for part in parts]


def in_bfloat16(seed: int) -> LogLLM:
    """As a processor loads it that multiplies bfloat16: frozen weights are rounded."""
    model = tiny.model(seed)
    for name, weight in model.named_parameters():
        if "lora_" not in name and not name.startswith("projector"):
            weight.data = weight.data.bfloat16()
    return model


def test_in_float32_the_weights_are_not_rounded_to_bfloat16() -> None:
    model, rounded = tiny.model(3), in_bfloat16(3)
    collator = tiny.collator(TEXTS, model)
    windows = list(dict.fromkeys(some_windows(3, 20)))
    expected = score_log_odds(model, collator, windows)
    log_odds = score_log_odds(rounded, collator, windows)
    ways = {"in float32": in_float32(lambda: tiny.model(3), collator)}
    found = measure_rounding(windows, log_odds, np.abs(log_odds), ways)
    assert found.num_windows == len(windows)
    assert found.log_odds == pytest.approx(np.abs(log_odds - expected).max(), abs=1e-4)
    assert found.log_odds > 0.001  # a weight of bfloat16 is off by a part in 256


def test_a_float32_copy_is_made_where_bfloat16_computes_and_the_copy_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, rounded = tiny.model(), in_bfloat16(0)
    assert not has_cheap_float32(plain)  # it computes in float32 as it is
    assert has_cheap_float32(rounded)
    num_weights = sum(weight.numel() for weight in rounded.parameters())
    monkeypatch.setattr(rounding, "MOST_FLOAT32_WEIGHTS", num_weights - 1)
    assert not has_cheap_float32(rounded)


def test_no_float32_copy_is_made_of_quantised_weights() -> None:
    model = in_bfloat16(0)
    layer = model.decoder.model.layers[0].mlp.up_proj
    layer.weight = nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    assert not has_cheap_float32(model)
