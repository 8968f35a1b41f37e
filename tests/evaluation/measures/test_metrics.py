from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef, precision_recall_fscore_support

from logllm_core.evaluation.measures.metrics import Ranking, best_f1, choose_threshold, judge, rank

Rows = list[tuple[bool, float]]
# Scores that tie, that are each other's neighbours, that are extreme, and any others.
SCORES = st.one_of(
    st.sampled_from([0.0, 5e-324, 0.25, 0.5, np.nextafter(0.5, 1), np.nextafter(1, 0), 1.0]),
    st.floats(0, 1),
)
ROWS = st.lists(st.tuples(st.booleans(), SCORES), min_size=1, max_size=40)
# Anomalous are the first three.
LABELS = np.array([True, True, True, False, False])
PROBABILITIES = np.array([0.9, 0.8, 0.4, 0.6, 0.1])


def apart(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in rows]), np.array([score for _, score in rows])


def test_verdicts_are_those_worked_out_by_hand() -> None:
    # Alarms (> 0.5) at places 0, 1, 3: two found, one false, one missed, one passed.
    found = judge(LABELS, PROBABILITIES)
    assert astuple(found)[:5] == (0.5, 2, 1, 1, 1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.specificity == pytest.approx(1 / 2)
    assert found.mcc == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))
    assert found.false_alarms_per_10000 == pytest.approx(2_000)  # 1 of 5 windows


def test_another_threshold_gives_other_verdicts() -> None:
    # Alarms (> 0.3) at places 0, 1, 2, 3: all three found, one false.
    found = judge(LABELS, PROBABILITIES, 0.3)
    assert astuple(found)[:5] == (0.3, 3, 1, 0, 1)
    assert found.f1 == pytest.approx(6 / 7)


def test_the_ranking_is_worth_what_was_worked_out_by_hand() -> None:
    # Ranked: hit, hit, false, hit. Average precision (1 + 1 + 3/4) / 3; of 6 pairs one is wrong.
    # F1 after each: 2/4, 4/5, 4/6, 6/7.
    found = rank(LABELS, PROBABILITIES)
    assert found.pr_auc == pytest.approx(2.75 / 3)
    assert found.roc_auc == pytest.approx(5 / 6)
    assert found.oracle_f1 == pytest.approx(6 / 7)


def test_a_score_at_the_threshold_is_no_alarm() -> None:
    assert judge(np.array([True]), np.array([0.5])).false_negatives == 1
    assert judge(np.array([True]), np.array([0.7]), 0.7).false_negatives == 1


def test_what_is_undefined_is_none() -> None:
    scores = np.array([0.1, 0.2])
    quiet = judge(np.array([True, False]), scores)
    assert (quiet.precision, quiet.recall, quiet.f1, quiet.mcc) == (None, 0.0, 0.0, None)
    normal = judge(np.array([False, False]), scores)
    assert (normal.recall, normal.f1, normal.specificity, normal.mcc) == (None, None, 1.0, None)
    anomalous = judge(np.array([True, True]), scores)
    assert (anomalous.recall, anomalous.specificity) == (0.0, None)
    nothing = judge(np.array([], dtype=bool), np.array([]))
    assert set(astuple(nothing)[5:]) == {None}


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_one_class_has_no_ranking_and_no_threshold(labels: list[bool]) -> None:
    is_anomalous = np.array(labels, dtype=bool)
    scores = np.linspace(0.2, 0.4, len(labels))
    assert rank(is_anomalous, scores) == Ranking(pr_auc=None, roc_auc=None, oracle_f1=None)
    assert best_f1(is_anomalous, scores) is None
    assert choose_threshold(is_anomalous, scores) is None


@pytest.mark.parametrize(
    ("labels", "scores", "f1", "threshold"),
    [
        # All four flagged above 0.4 down to 0.1: see the ranking by hand; midway of 0.4 and 0.1.
        (LABELS, PROBABILITIES, 6 / 7, 0.25),
        # One found of two (2/3), or both among four (4/6): the fewer alarms.
        ([True, False, False, True], [0.8, 0.6, 0.4, 0.2], 2 / 3, 0.7),
        # All alike: everything is an alarm, midway between 0.6 and 0.
        ([True, False], [0.6, 0.6], 2 / 3, 0.3),
        # Tied scores are flagged together: 0.5 brings one hit and one false alarm (4/5).
        ([True, True, False, False], [0.9, 0.5, 0.5, 0.0], 4 / 5, 0.25),
        # No threshold flags a score of 0.
        ([True, False], [0.0, 0.0], 0.0, 1.0),
        ([True, False], [0.0, 0.7], 0.0, 1.0),
        # Neighbouring numbers have no middle.
        ([True, False], [np.nextafter(0.5, 1), 0.5], 1.0, 0.5),
        ([True, False], [5e-324, 0.0], 1.0, 0.0),
    ],
)
def test_the_threshold_of_the_best_f1_lies_where_worked_out_by_hand(
    labels: list[bool], scores: list[float], f1: float, threshold: float
) -> None:
    assert best_f1(np.array(labels), np.array(scores)) == pytest.approx(f1)
    assert choose_threshold(np.array(labels), np.array(scores)) == pytest.approx(threshold)


@given(ROWS)
def test_the_rates_equal_scikit_learns(rows: Rows) -> None:
    labels, scores = apart(rows)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, scores > 0.5, average="binary", zero_division=np.nan
    )
    found = judge(labels, scores)
    for value, expected in ((found.precision, precision), (found.recall, recall), (found.f1, f1)):
        assert value == pytest.approx(expected, nan_ok=True) or (
            value is None and np.isnan(expected)
        )
    both = np.append(labels, [True, False]), np.append(scores, [1.0, 0.0])  # so that it is defined
    assert judge(*both).mcc == pytest.approx(matthews_corrcoef(both[0], both[1] > 0.5))


@given(ROWS)
def test_the_chosen_threshold_reproduces_the_best_f1(rows: Rows) -> None:
    labels, scores = apart(rows)
    best, threshold = best_f1(labels, scores), choose_threshold(labels, scores)
    if not 0 < labels.sum() < len(labels):
        assert (best, threshold) == (None, None)
        return
    assert best is not None
    assert threshold is not None
    assert 0 <= threshold <= 1
    found = judge(labels, scores, threshold)
    assert found.f1 == best
    # No other threshold does better, and none does as well with fewer alarms.
    num_alarms = found.true_positives + found.false_positives
    for other in {0.0, *scores.tolist()}:
        f1 = f1_score(labels, scores > other, zero_division=0)
        assert f1 <= best + 1e-12
        assert f1 < best - 1e-12 or (scores > other).sum() >= num_alarms


@given(ROWS)
def test_the_chosen_threshold_is_not_the_score_of_an_alarm(rows: Rows) -> None:
    labels, scores = apart(rows)
    threshold = choose_threshold(labels, scores)
    if threshold is not None and threshold < 1:
        higher, lower = scores[scores > threshold].min(), scores[scores <= threshold].max(initial=0)
        # Midway, but for rounding.
        assert abs(threshold - (higher + lower) / 2) <= np.spacing(higher)
