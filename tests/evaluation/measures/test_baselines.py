from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from logllm_core.evaluation.measures import baselines
from logllm_core.evaluation.measures.bags import Ids, count_messages
from logllm_core.evaluation.measures.baselines import BASELINES, Scorer, fit_baselines
from logllm_core.evaluation.measures.training_bags import Evidence, TrainingBags
from logllm_core.logs.windows.window_artifact import Windows

NEVER_SEEN = "message never seen in a normal training window"
RATE = "highest anomaly rate of any message"
LOOKUP = "exact-sequence lookup"
LOGISTIC = "logistic regression on message counts"
TREE = "decision tree on message counts"
BOOSTING = "gradient boosting on message counts"
NEIGHBOUR = "1-nearest neighbour on message counts"
VECTOR = "logistic regression on the encoder's mean vector"
ON_COUNTS = (LOGISTIC, TREE, BOOSTING, NEIGHBOUR)


def windows(rows: list[tuple[Ids, bool]]) -> Windows:
    return Windows(
        window_ids=np.arange(len(rows)),
        message_ids=[ids for ids, _ in rows],
        is_anomalous=np.array([label for _, label in rows], dtype=bool),
    )


def evidence(train: Windows, **changes: Any) -> Evidence:
    return Evidence(**{"train": train, "alert_rates": None, "vectors_ME": None} | changes)


def fitted(name: str, train: Windows, **changes: Any) -> Scorer:
    """That one alone, for the others take their time."""
    return BASELINES[name](TrainingBags.of(evidence(train, **changes)))


TRAIN = windows([((0, 1), False), ((1, 0, 0), False), ((2, 0, 1), True), ((0, 2, 2, 1), True)] * 10)
TEST = windows([((0, 0, 1), False), ((1, 2), True), ((3, 0, 1), True)])
RATES = np.array([0.0, 0.1, 0.8, 0.3])
# The encoder finds that message 3 resembles message 2.
VECTORS = np.array([[0, 1], [0, 1.1], [1, 0], [0.9, 0]], dtype=np.float32)


def test_each_baseline_alarms_as_it_says() -> None:
    found = fit_baselines(evidence(TRAIN, alert_rates=RATES, vectors_ME=VECTORS))
    assert found.not_applicable == {}
    alarms = {name: (score(TEST) > 0.5).tolist() for name, score in found.scorers.items()}
    assert alarms == {
        "always anomalous": [True, True, True],
        # 2 and 3 are in no normal training window.
        NEVER_SEEN: [False, True, True],
        RATE: [False, True, False],
        # None of the three sequences is in training, where half of the windows are anomalous.
        LOOKUP: [False, False, False],
        # 3 is in no training window at all, so counts say nothing about it.
        LOGISTIC: [False, True, False],
        TREE: [False, True, False],
        BOOSTING: [False, True, False],
        NEIGHBOUR: [False, True, False],
        VECTOR: [False, True, True],
    }


def test_the_names_are_those_of_the_report_and_in_its_order() -> None:
    assert list(BASELINES) == [
        "always anomalous",
        NEVER_SEEN,
        RATE,
        LOOKUP,
        LOGISTIC,
        TREE,
        BOOSTING,
        NEIGHBOUR,
        VECTOR,
    ]


def test_a_window_has_the_highest_rate_of_its_messages() -> None:
    train = windows([((0, 0, 0, 1, 2, 2), True)] * 10)
    test = windows([((0, 3), False), ((0, 1), False), ((1, 2, 3), False)])
    scores = fitted(RATE, train, alert_rates=RATES)(test)
    assert scores == pytest.approx([0.3, 0.1, 0.8])


def test_the_lookup_gives_the_share_of_the_same_sequence_in_its_order() -> None:
    train = windows([((0, 1), True), ((0, 1), True), ((0, 1), False), ((1, 0), False)])
    test = windows([((0, 1), False), ((1, 0), False), ((1,), False)])
    assert fitted(LOOKUP, train)(test) == pytest.approx([2 / 3, 0, 2 / 4])


def test_the_nearest_bags_share_is_the_score() -> None:
    train = windows(
        [((0, 0), False), ((0, 0), True), ((0, 0), False), ((1, 1), True), ((5,) * 9, True)]
    )
    test = windows(
        [
            ((0, 0), False),  # the bag itself: 1 of 3
            ((0, 0, 0, 7), False),  # one 0 more, and what training lacks
            ((1, 1, 1), False),
            ((0, 1), False),  # as near to (0, 0) as to (1, 1): 2 of 4
        ]
    )
    assert fitted(NEIGHBOUR, train)(test) == pytest.approx([1 / 3, 1 / 3, 1, 2 / 4])


def test_order_does_not_matter_to_what_counts_messages() -> None:
    test = windows([((0, 2, 1), True), ((2, 1, 0), True), ((0, 1, 2), True)])
    found = fit_baselines(evidence(TRAIN, alert_rates=RATES, vectors_ME=VECTORS)).scorers
    for name in (NEVER_SEEN, RATE, *ON_COUNTS, VECTOR):
        scores = found[name](test)
        assert (scores == scores[0]).all(), name


def test_the_mean_vector_weighs_a_message_by_its_lines() -> None:
    # Only the mean tells: three times message 0 and once 2, or the other way round.
    train = windows([((0, 0, 0, 2), False), ((0, 2, 2, 2), True)] * 10)
    test = windows([((0, 0, 2), False), ((0, 2, 2), False), ((2, 0), False)])
    scores = fitted(VECTOR, train, vectors_ME=VECTORS)(test)
    assert (scores[:2] > 0.5).tolist() == [False, True]
    assert scores[2] == pytest.approx(0.5, abs=0.01)


def test_what_cannot_be_fitted_says_why() -> None:
    found = fit_baselines(evidence(TRAIN))
    assert found.not_applicable == {
        RATE: "The lines have no labels.",
        VECTOR: "There are too many messages to encode.",
    }
    assert set(found.scorers) | set(found.not_applicable) == set(BASELINES)


def test_trees_are_left_out_where_they_would_take_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_TREE_MESSAGES", 3)
    assert TREE in fit_baselines(evidence(TRAIN)).scorers  # it holds three messages
    monkeypatch.setattr(baselines, "MAX_TREE_MESSAGES", 2)
    found = fit_baselines(evidence(TRAIN, alert_rates=RATES, vectors_ME=VECTORS))
    reason = "Training windows hold more than 2 distinct messages."
    assert found.not_applicable == {TREE: reason, BOOSTING: reason}


@pytest.mark.parametrize(("label", "kind"), [(False, "normal"), (True, "anomalous")])
def test_one_class_in_training_leaves_the_rules(label: bool, kind: str) -> None:
    train = windows([((0, 1), label), ((1, 2), label)])
    found = fit_baselines(evidence(train, alert_rates=RATES, vectors_ME=VECTORS))
    reason = f"All training windows are {kind}."
    assert found.not_applicable == dict.fromkeys((LOGISTIC, TREE, BOOSTING, VECTOR), reason)
    scores = {name: score(TEST).tolist() for name, score in found.scorers.items()}
    assert scores[LOOKUP] == scores[NEIGHBOUR] == [label] * 3
    # 3 is in no training window; without a normal one, no message was ever seen in one.
    assert scores[NEVER_SEEN] == ([1, 1, 1] if label else [0, 0, 1])


def test_without_training_windows_one_baseline_is_left() -> None:
    found = fit_baselines(evidence(windows([])))
    assert list(found.scorers) == ["always anomalous"]
    assert set(found.not_applicable.values()) == {"There are no training windows."}


def test_no_windows_have_no_scores() -> None:
    found = fit_baselines(evidence(TRAIN, alert_rates=RATES, vectors_ME=VECTORS))
    for name, score in found.scorers.items():
        assert score(windows([])).shape == (0,), name


BAGS = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
LOGS = st.lists(st.tuples(BAGS, st.booleans()), min_size=1, max_size=25)


@settings(deadline=None, max_examples=50)
@given(LOGS, LOGS)
def test_scores_lie_between_0_and_1_whatever_the_log(
    train: list[tuple[Ids, bool]], test: list[tuple[Ids, bool]]
) -> None:
    rates = np.full(5, 0.3)
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    found = fit_baselines(evidence(windows(train), alert_rates=rates, vectors_ME=vectors))
    for name, score in found.scorers.items():
        scores = score(windows(test))
        assert scores.dtype == np.float64, name
        assert ((scores >= 0) & (scores <= 1)).all(), name


@given(LOGS, LOGS)
def test_the_nearest_neighbour_is_found_as_by_looking_at_each_window(
    train: list[tuple[Ids, bool]], test: list[tuple[Ids, bool]]
) -> None:
    def counts(ids: Ids) -> np.ndarray:
        return np.bincount(ids, minlength=5)

    expected = []
    for ids, _ in test:
        squares = [((counts(ids) - counts(other)) ** 2).sum() for other, _ in train]
        nearest = [label for (_, label), s in zip(train, squares, strict=True) if s == min(squares)]
        expected.append(np.mean(nearest))
    assert fitted(NEIGHBOUR, windows(train))(windows(test)) == pytest.approx(expected)


def test_the_nearest_neighbours_do_not_depend_on_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(0)
    rows = [(tuple(generator.integers(9, size=6).tolist()), bool(i % 3)) for i in range(60)]
    score = fitted(NEIGHBOUR, windows(rows[:30]))
    whole = score(windows(rows[30:]))
    monkeypatch.setattr(baselines, "NUM_CELLS", 100)
    assert (score(windows(rows[30:])) == whole).all()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        (LOGISTIC, lambda: LogisticRegression(C=100, max_iter=2_000)),
        (TREE, lambda: DecisionTreeClassifier(random_state=0)),
        (BOOSTING, lambda: GradientBoostingClassifier(random_state=0)),
    ],
)
def test_the_fit_is_that_on_every_single_window(name: str, make: Callable[[], Any]) -> None:
    # Few distinct bags, many windows of each, and labels that contradict each other.
    generator = np.random.default_rng(1)
    bags = [tuple(generator.integers(6, size=5).tolist()) for _ in range(40)]
    rows = [
        (bags[place], bool(generator.random() < 0.2 + 0.6 * (0 in bags[place])))
        for place in generator.integers(len(bags), size=800)
    ]
    counts = np.array([np.bincount(ids, minlength=6) for ids, _ in rows], dtype=np.float64)
    largest = counts.max(axis=0) if name == LOGISTIC else 1
    model = make().fit(counts / largest, [label for _, label in rows])
    expected = model.predict_proba(counts / largest)[:, 1]
    found = fitted(name, windows(rows))(windows(rows))
    # The optimiser stops where the slope is nearly flat, at a slightly different point each time.
    assert found == pytest.approx(expected, abs=1e-3 if name == LOGISTIC else 1e-9)


def test_a_distinct_bag_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counting(bags: list[Ids], columns: Any) -> Any:
        sizes.append(len(bags))
        return count_messages(bags, columns)

    score = fitted(TREE, TRAIN)
    monkeypatch.setattr(baselines, "count_messages", counting)
    test = windows([((0, 1, 2), True), ((2, 1, 0), True), ((1, 1), False)] * 100)
    scores = score(test)
    assert sizes == [2]
    assert all((later == first).all() for first, later in pairwise(scores.reshape(100, 3)))
