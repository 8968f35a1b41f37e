from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from logllm_core.evaluation.measures import intervals as module
from logllm_core.evaluation.measures.intervals import (
    Ranked,
    difference,
    differences,
    intervals,
    resamples,
)
from logllm_core.evaluation.measures.metrics import Labels, Scores, judge, rank
from logllm_core.results.figures import PAIRED, Difference, Interval

NO_DIFFERENCE = Difference(difference=0.0, interval=Interval(0.0, 0.0))
ROWS = st.lists(
    st.tuples(
        st.booleans(),
        st.one_of(st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.floats(0, 1)),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=30,
)


def noisy(num_windows: int, *, seed: int = 0) -> tuple[Labels, Scores]:
    """A third anomalous, and scores that tell somewhat; no window depends on another."""
    generator = np.random.default_rng(seed)
    is_anomalous = generator.random(num_windows) < 1 / 3
    return is_anomalous, 0.3 * is_anomalous + 0.7 * generator.random(num_windows)


def all_resamples(num_windows: int) -> np.ndarray:
    return np.concatenate(list(resamples(num_windows)), axis=1)


def width(interval: Interval | None) -> float:
    assert interval
    return interval.high - interval.low


@given(ROWS)
def test_the_areas_of_a_resample_equal_scikit_learns_with_weights(
    rows: list[tuple[bool, float, int]],
) -> None:
    labels = np.array([label for label, _, _ in rows])
    scores = np.array([score for _, score, _ in rows])
    weights = np.array([weight for _, _, weight in rows], dtype=np.int32)
    found = Ranked.of(labels, scores).areas(np.column_stack([weights, np.ones_like(weights)]))
    for column, used in enumerate([weights, np.ones_like(weights)]):
        drawn = labels[used > 0]
        if not 0 < drawn.sum() < len(drawn):
            assert np.isnan([found["pr_auc"][column], found["roc_auc"][column]]).all()
            continue
        expected = {
            "pr_auc": average_precision_score(labels, scores, sample_weight=used),
            "roc_auc": roc_auc_score(labels, scores, sample_weight=used),
        }
        for figure, value in expected.items():
            assert found[figure][column] == pytest.approx(value, abs=1e-12)


def test_blocks_are_laid_on_a_circle_and_the_last_is_cut() -> None:
    # Seven windows: blocks of 3, 3 and 1. From 5: 5, 6, 0. From 1: 1, 2, 3. From 6: 6.
    starts, lengths = np.array([[5, 1, 6], [0, 4, 4]]), np.array([3, 3, 1])
    weights = module._weigh(starts, lengths, 7)
    assert weights[:, 0].tolist() == [1, 1, 1, 1, 0, 1, 2]
    # From 0: 0, 1, 2. From 4: 4, 5, 6. From 4: 4.
    assert weights[:, 1].tolist() == [1, 1, 1, 0, 2, 1, 1]


@pytest.mark.parametrize("num_windows", [1, 2, 3, 10, 100, 601])
def test_each_resample_is_as_long_as_the_log(num_windows: int) -> None:
    weights = all_resamples(num_windows)
    assert weights.shape == (num_windows, 1_000)
    assert (weights.sum(axis=0) == num_windows).all()
    assert (weights >= 0).all()


def test_the_first_and_the_last_windows_are_drawn_as_often_as_the_others() -> None:
    means = all_resamples(100).mean(axis=1)
    # Of 10 blocks, each covers a window with chance 1/10: 1 +- sqrt(0.9 / 1000) = 0.03.
    assert np.abs(means - 1).max() < 5 * 0.03


def test_neighbours_are_drawn_together() -> None:
    weights = all_resamples(400).astype(float)  # blocks of 20
    together = [np.corrcoef(weights[200], weights[200 + gap])[0, 1] for gap in (1, 10, 40)]
    # Of the 20 blocks that hold a window, 19 hold the next one too, and 10 the tenth.
    assert together == pytest.approx([0.95, 0.5, 0], abs=0.1)


def test_resamples_do_not_depend_on_how_many_fit_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = all_resamples(50)
    monkeypatch.setattr(module, "NUM_CELLS", 50 * 7)
    parts = list(resamples(50))
    assert len(parts) == 143  # 1,000 / 7, rounded up
    assert (np.concatenate(parts, axis=1) == whole).all()


def test_an_interval_holds_the_figure_it_is_about() -> None:
    labels, scores = noisy(600)
    bounds = intervals(labels, {"rule": scores}, {"rule": 0.4})["rule"]
    for at_threshold, threshold in (
        (bounds.at_decision, 0.5),
        (bounds.at_validation_threshold, 0.4),
    ):
        figures = asdict(judge(labels, scores, threshold))
        assert at_threshold
        assert list(at_threshold) == [
            "precision",
            "recall",
            "f1",
            "specificity",
            "mcc",
            "false_alarms_per_10000",
        ]
        for rate, interval in at_threshold.items():
            assert interval
            assert interval.low < figures[rate] < interval.high, (threshold, rate)
    areas = asdict(rank(labels, scores))
    for figure in ("pr_auc", "roc_auc"):
        area = bounds.areas[figure]
        assert area
        assert area.low < areas[figure] < area.high


def test_independent_windows_have_the_width_that_theory_gives() -> None:
    # Recall of 400 found among 800 independent anomalous windows: 0.5 +- 1.96 sqrt(0.25 / 800).
    generator = np.random.default_rng(0)
    labels = np.ones(800, dtype=bool)
    scores = generator.permutation(np.repeat([0.0, 1.0], 400))
    found = intervals(labels, {"own": scores}, {"own": None})["own"]
    assert width(found.at_decision["recall"]) == pytest.approx(
        2 * 1.96 * np.sqrt(0.25 / 800), rel=0.25
    )


def test_bursts_widen_an_interval() -> None:
    # The same verdicts, strewn over the log or in runs of 40: a run is one witness, not forty.
    generator = np.random.default_rng(0)
    runs = generator.permutation(np.repeat([0.0, 1.0], 20))
    labels, in_bursts = np.ones(1_600, dtype=bool), np.repeat(runs, 40)
    strewn = generator.permutation(in_bursts)
    found = intervals(labels, {"runs": in_bursts, "strewn": strewn}, {"runs": None, "strewn": None})
    widths = {name: width(bounds.at_decision["recall"]) for name, bounds in found.items()}
    # Runs of 40 are sqrt(40) = 6.3 times as wide in the limit; blocks of 40 see a good part of it.
    assert 3 < widths["runs"] / widths["strewn"] < 6.3


def test_intervals_are_the_same_each_time_and_in_any_company() -> None:
    labels, scores = noisy(200)
    alone = intervals(labels, {"own": scores}, {"own": None})["own"]
    beside = intervals(labels, {"other": 1 - scores, "own": scores}, {"other": 0.2, "own": None})
    assert alone == beside["own"]
    assert alone.at_validation_threshold is None


def test_what_the_resamples_leave_undefined_has_no_interval() -> None:
    nobody = np.zeros(50)
    # No alarm: no precision, so no MCC. One anomalous window of 50: in two thirds of the resamples.
    labels = np.arange(50) == 7
    found = intervals(labels, {"own": nobody}, {"own": None})["own"]
    assert found.at_decision["precision"] is None
    assert found.at_decision["mcc"] is None
    assert found.at_decision["recall"] == (0, 0)
    assert found.areas["roc_auc"] == (0.5, 0.5)
    normal = intervals(np.zeros(50, dtype=bool), {"own": nobody}, {"own": None})["own"]
    assert normal.areas["pr_auc"] is None
    assert normal.at_decision["recall"] is None
    assert normal.at_decision["false_alarms_per_10000"] == (0, 0)


def test_half_of_the_resamples_must_define_a_figure() -> None:
    values = np.array([np.nan] * 501 + [0.5] * 499)
    assert module._interval(values) is None
    values[0] = 0.5
    assert module._interval(values) == (0.5, 0.5)


@pytest.mark.parametrize("num_windows", [0, 1, 2, 3])
def test_a_handful_of_windows_is_no_fault(num_windows: int) -> None:
    labels = np.arange(num_windows) % 2 == 0
    scores = np.linspace(0.1, 0.9, num_windows)
    found = intervals(labels, {"own": scores}, {"own": 0.5})["own"]
    assert (found.at_decision["f1"] is None) == (num_windows == 0)
    assert difference(labels, scores, scores, "pr_auc") in (None, NO_DIFFERENCE)


def test_a_difference_is_measured_on_the_same_resamples() -> None:
    labels, scores = noisy(400)
    assert difference(labels, scores, scores, "f1") == NO_DIFFERENCE
    assert difference(labels, scores, scores, "pr_auc") == NO_DIFFERENCE
    # The other makes one mistake more, on normal windows alone: never better, whatever is drawn.
    worse = np.where(np.arange(400) == np.flatnonzero(~labels & (scores < 0.4))[0], 0.9, scores)
    for figure in PAIRED:
        found = difference(labels, scores, worse, figure)
        assert found is not None
        assert found.interval is not None
        own = judge(labels, scores).f1 if figure == "f1" else rank(labels, scores).pr_auc
        other = judge(labels, worse).f1 if figure == "f1" else rank(labels, worse).pr_auc
        assert own is not None
        assert other is not None
        assert found.difference == pytest.approx(own - other)
        assert 0 <= found.interval.low <= found.difference <= found.interval.high


def test_differences_from_several_are_those_from_each() -> None:
    labels, own = noisy(200)
    others = [noisy(200, seed=seed)[1] for seed in (1, 2)]
    for figure in PAIRED:
        alone = [difference(labels, own, other, figure) for other in others]
        assert differences(labels, own, others, figure) == alone


def test_a_difference_of_what_is_undefined_is_none() -> None:
    labels = np.zeros(20, dtype=bool)
    quiet = np.zeros(20)
    assert difference(labels, quiet, quiet, "f1") is None
    assert difference(labels, quiet, quiet, "pr_auc") is None
