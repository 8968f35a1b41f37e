import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logllm_core.logs.windows import Windows
from logllm_core.training.crops import MIN_LINES, shown
from tests.training import small

PLACES = np.arange(200) % 3
# Message ids tell where a line stood: window 0 is normal, window 1 has an alert in its fourth line.
LINES = [tuple(range(10)), tuple(range(10, 20)), (20, 21)]
ALERTS = [(False,) * 10, (False,) * 3 + (True,) + (False,) * 6, (True, False)]


def windows(alerts: list[tuple[bool, ...]] | None) -> Windows:
    return Windows(
        window_ids=np.arange(3),
        message_ids=LINES,
        is_anomalous=np.array([False, True, True]),
        alerts=alerts,
    )


def crops(
    fraction: float, *, step: str = "0", alerts: list[tuple[bool, ...]] | None = ALERTS
) -> list[tuple[int, ...]]:
    recipe = small.recipe(crop_fraction=fraction)
    return shown(windows(alerts), PLACES, recipe, "3", step)


WHOLE = [LINES[place] for place in PLACES]


def test_a_crop_is_a_run_of_its_window_s_lines_and_keeps_an_alert() -> None:
    found = crops(1.0)
    for place, ids in zip(PLACES.tolist(), found, strict=True):
        first = ids[0]
        assert ids == tuple(range(first, first + len(ids)))
        assert set(ids) <= set(LINES[place])
    normal, anomalous, short = found[0::3], found[1::3], found[2::3]
    assert {len(ids) for ids in normal} == set(range(MIN_LINES, 10))
    assert all(13 in ids for ids in anomalous)
    assert {ids[0] for ids in anomalous} >= {10, 11, 12, 13}  # wherever the alert stands in it
    assert set(short) == {(20, 21)}  # too short for a crop


def test_so_many_samples_are_cropped_as_the_recipe_says() -> None:
    assert crops(0.0) == WHOLE
    cropped = sum(one != whole for one, whole in zip(crops(0.5), WHOLE, strict=True))
    # Of 134 windows that can be cropped half, give or take four standard deviations of 5.8.
    assert 43 < cropped < 91


def test_windows_without_labelled_lines_are_shown_whole() -> None:
    assert crops(1.0, alerts=None) == WHOLE


def test_each_step_crops_in_its_own_way_and_always_the_same() -> None:
    assert crops(0.5, step="1") == crops(0.5, step="1")
    assert crops(0.5, step="1") != crops(0.5, step="2")


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 1_000))
def test_a_crop_holds_an_alert_exactly_where_its_window_does(alerts: list[bool], seed: int) -> None:
    one = Windows(
        window_ids=np.arange(1),
        message_ids=[tuple(range(len(alerts)))],
        is_anomalous=np.array([any(alerts)]),
        alerts=[tuple(alerts)],
    )
    recipe = small.recipe(crop_fraction=1.0, seed=seed)
    (found,) = shown(one, np.zeros(1, dtype=np.int64), recipe, "1", "0")
    assert any(alerts[line] for line in found) == any(alerts)
