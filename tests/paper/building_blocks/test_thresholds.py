import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm_core.paper.building_blocks.thresholds import beyond, hold_out, limit_of

AMOUNTS = st.floats(0, 1e6)


def test_a_score_is_above_a_half_beyond_the_limit_alone() -> None:
    found = beyond(np.array([0.0, 1.0, 3.0, 9.0]), 3.0)
    assert found.tolist() == [0.0, 0.25, 0.5, 0.75]


def test_with_a_limit_of_nothing_anything_is_beyond_it() -> None:
    assert beyond(np.array([0.0, 1e-9]), 0.0).tolist() == [0.5, 1.0]


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_scores_keep_the_order_and_stay_within_bounds(
    one: float, other: float, limit: float
) -> None:
    first, second = beyond(np.array([one, other]), limit)
    assert 0 <= first <= 1
    assert (one <= other) <= (first <= second)


@pytest.mark.parametrize(("num_windows", "num_held"), [(10, 2), (2, 1), (3, 1), (100, 20)])
def test_held_out_places_are_apart_from_the_kept_ones(num_windows: int, num_held: int) -> None:
    kept, held = hold_out(num_windows, 0.2, seed=0)
    assert len(held) == num_held
    assert sorted([*kept, *held]) == list(range(num_windows))


def test_a_single_window_is_kept_and_held() -> None:
    kept, held = hold_out(1, 0.2, seed=0)
    assert kept.tolist() == held.tolist() == [0]


def test_which_places_are_held_out_depends_on_the_seed_alone() -> None:
    assert hold_out(50, 0.2, seed=1)[1].tolist() == hold_out(50, 0.2, seed=1)[1].tolist()
    assert hold_out(50, 0.2, seed=1)[1].tolist() != hold_out(50, 0.2, seed=2)[1].tolist()


def test_the_limit_is_a_value_that_so_many_do_not_pass() -> None:
    values = np.arange(1.0, 101.0)
    assert limit_of(values, 0.99) == 99.0
    assert limit_of(values, 1.0) == 100.0
    assert limit_of(np.array([7.0]), 0.5) == 7.0


def test_beyond_a_limit_of_nothing_values_keep_their_order() -> None:
    limit = limit_of(np.zeros(10), 0.99)
    scores = beyond(np.array([0.0, 0.1, 0.5]), limit)
    assert scores[0] == 0
    assert 0.5 < scores[1] < scores[2] < 1
