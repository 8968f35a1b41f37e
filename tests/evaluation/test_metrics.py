import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from logllm_core.evaluation.metrics import measure


def test_figures_are_those_worked_out_by_hand() -> None:
    # Alarms (> 0.5) at places 0, 1, 3; anomalous are 0, 1, 2: two found, one false, one missed.
    labels = np.array([True, True, True, False, False])
    found = measure(labels, np.array([0.9, 0.8, 0.4, 0.6, 0.1]))
    counts = (
        found.true_positives,
        found.false_positives,
        found.false_negatives,
        found.true_negatives,
    )
    assert counts == (2, 1, 1, 1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    # Ranked: hit, hit, false, hit. Average precision (1 + 1 + 3/4) / 3; of 6 pairs one is wrong.
    assert found.pr_auc == pytest.approx(2.75 / 3)
    assert found.roc_auc == pytest.approx(5 / 6)


def test_a_probability_of_one_half_is_no_alarm() -> None:
    assert measure(np.array([True]), np.array([0.5])).false_negatives == 1


def test_what_is_undefined_is_none() -> None:
    quiet = measure(np.array([True, False]), np.array([0.1, 0.2]))
    assert (quiet.precision, quiet.recall, quiet.f1) == (None, 0.0, 0.0)
    normal = measure(np.array([False, False]), np.array([0.1, 0.2]))
    assert (normal.recall, normal.f1, normal.pr_auc, normal.roc_auc) == (None, None, None, None)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=50))
def test_figures_equal_scikit_learns(rows: list[tuple[bool, float]]) -> None:
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows])
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, scores > 0.5, average="binary", zero_division=np.nan
    )
    found = measure(labels, scores)
    for value, expected in ((found.precision, precision), (found.recall, recall), (found.f1, f1)):
        assert value == pytest.approx(expected, nan_ok=True) or (
            value is None and np.isnan(expected)
        )
