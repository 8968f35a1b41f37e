from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm_core.evaluation.measures.calibration import calibrate


def test_calibration_is_that_worked_out_by_hand() -> None:
    # Bin 0.1-0.2: probabilities 0.1 and 0.18 (mean 0.14), one of two anomalous: gap 0.36.
    # Bin 0.9-1: 0.9 and 1.0 (mean 0.95), both anomalous: gap 0.05.
    found = calibrate(np.array([False, True, True, True]), np.array([0.1, 0.18, 0.9, 1.0]))
    assert found.ece == pytest.approx((2 * 0.36 + 2 * 0.05) / 4)
    assert found.brier == pytest.approx((0.1**2 + 0.82**2 + 0.1**2 + 0) / 4)
    assert len(found.bins) == 10
    assert asdict(found.bins[1]) == {
        "low": 0.1,
        "high": 0.2,
        "num_windows": 2,
        "mean_probability": pytest.approx(0.14),
        "anomalous_fraction": 0.5,
    }
    last = found.bins[9]
    assert (last.num_windows, last.anomalous_fraction) == (2, 1.0)
    empty = found.bins[4]
    assert (empty.num_windows, empty.mean_probability, empty.anomalous_fraction) == (0, None, None)


def test_a_probability_on_an_edge_belongs_to_the_bin_above() -> None:
    edges = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    found = calibrate(np.zeros(9, dtype=bool), edges)
    assert [one.num_windows for one in found.bins] == [0] + [1] * 9
    assert [one.low for one in found.bins[1:]] == edges.tolist()


def test_without_windows_nothing_is_defined() -> None:
    found = calibrate(np.array([], dtype=bool), np.array([]))
    assert (found.ece, found.brier) == (None, None)
    assert {one.mean_probability for one in found.bins} == {None}


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=50))
def test_every_window_is_in_the_bin_of_its_probability(rows: list[tuple[bool, float]]) -> None:
    labels = np.array([label for label, _ in rows])
    chances = np.array([chance for _, chance in rows])
    found = calibrate(labels, chances)
    gaps = 0.0
    for place, one in enumerate(found.bins):
        inside = (chances >= one.low) & ((chances < one.high) | (place == 9))
        assert one.num_windows == inside.sum()
        if one.num_windows:
            gaps += inside.sum() * abs(chances[inside].mean() - labels[inside].mean())
    assert found.ece == pytest.approx(gaps / len(rows))
