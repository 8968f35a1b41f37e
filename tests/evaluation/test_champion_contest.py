import numpy as np
import pytest

from logllm_core.daily.champion.fair_windows import Newer
from logllm_core.evaluation.champion_contest import Contest, compete, held_back
from logllm_core.evaluation.measures.metrics import Labels, Scores

NUM_WINDOWS = 36
EVERY_THIRD = np.arange(NUM_WINDOWS) % 3 == 0  # 12 of 36 are anomalous
PLACES = np.flatnonzero(EVERY_THIRD)


MANY = np.tile(EVERY_THIRD, 5)  # 60 of 180


def finding(num_found: int, num_false: int = 0) -> Scores:
    """Probabilities that find so many of the anomalous windows, evenly, and cry wolf so often."""
    scores = np.full(NUM_WINDOWS, 0.1)
    scores[PLACES[np.linspace(0, 11, num_found).astype(int)]] = 0.9
    scores[np.flatnonzero(~EVERY_THIRD)[:num_false]] = 0.9
    return scores


def held(
    candidate: Scores,
    champion: Scores,
    labels: Labels = EVERY_THIRD,
    are_newer: Labels | None = None,
    unknown: str | None = None,
) -> Contest:
    chosen = np.ones(len(labels), dtype=bool) if are_newer is None else are_newer
    return compete(labels, candidate, champion, Newer(are_newer=chosen, unknown=unknown))


def test_a_better_candidate_is_promoted_and_both_figures_are_told() -> None:
    contest = held(finding(9), finding(6))
    # Nothing but what is anomalous is found: F1 = 2 * 9 / (2 * 9 + 3), 2 * 6 / (2 * 6 + 6).
    f1, pr_auc = contest.figures
    assert f1.name == "f1"
    assert (f1.candidate, f1.champion) == (18 / 21, 12 / 18)
    assert f1.difference == pytest.approx(18 / 21 - 12 / 18)
    # Those not found are tied with 24 normal windows: the last step falls to 12 / 36.
    assert pr_auc.candidate == pytest.approx(9 / 12 + 3 / 12 * 12 / 36)
    assert pr_auc.champion == pytest.approx(6 / 12 + 6 / 12 * 12 / 36)
    assert contest.is_promoted
    assert "not worse than chance explains: F1 0.857 against 0.667 (+0.190" in contest.reason
    assert "on 36 new windows, 12 anomalous." in contest.reason


def test_one_that_is_worse_by_chance_alone_is_promoted() -> None:
    perfect = np.where(MANY, 0.9, 0.1)
    candidate = perfect.copy()
    candidate[np.flatnonzero(MANY)[30]] = 0.1  # misses one of 60
    contest = held(candidate, perfect, MANY)
    f1 = contest.figures[0]
    assert f1.difference == pytest.approx(2 * 59 / (2 * 59 + 1) - 1)
    assert f1.interval
    assert f1.interval.high == 0
    assert f1.interval.low > -0.1
    assert contest.is_promoted


def test_one_that_may_be_much_worse_is_not_promoted_because_there_are_few_windows() -> None:
    """One of twelve is missed: a chance, or a twelfth of all failures, which cannot be told."""
    contest = held(finding(11), finding(12))
    f1 = contest.figures[0]
    assert f1.difference == pytest.approx(22 / 23 - 1)
    assert f1.interval
    assert f1.interval.high == 0
    assert f1.interval.low < -0.1
    assert not contest.is_promoted
    assert contest.reason.startswith("The champion stays: the candidate does worse in F1 and PR-")


def test_a_silent_candidate_is_not_promoted_where_few_windows_are_anomalous() -> None:
    labels = np.zeros(100, dtype=bool)
    labels[[20, 50, 80]] = True
    champion = np.where(labels, 0.9, 0.1)
    champion[80] = 0.1
    contest = held(np.where(labels, 0.2, 0.1), champion, labels)
    assert contest.figures[0].candidate == 0
    assert not contest.is_promoted


def test_one_that_is_worse_beyond_chance_is_turned_down() -> None:
    contest = held(finding(3), finding(12))
    assert not contest.is_promoted
    assert contest.reason.startswith("The candidate is worse in F1 and PR-AUC: F1 0.400 against")
    for figure in contest.figures:
        assert figure.interval
        assert figure.interval.high < 0


def test_one_figure_that_is_worse_is_enough() -> None:
    """The candidate sorts the windows as the champion does, and gives no alarm at all."""
    ranked_alike = finding(12) * 0.5
    contest = held(ranked_alike, finding(12))
    assert contest.figures[1].difference == 0
    assert not contest.is_promoted
    assert "is worse in F1:" in contest.reason


def test_the_same_model_is_not_worse_than_itself() -> None:
    contest = held(finding(7, 3), finding(7, 3))
    assert [figure.difference for figure in contest.figures] == [0, 0]
    assert [figure.interval for figure in contest.figures] == [(0, 0), (0, 0)]
    assert contest.is_promoted


def test_where_it_cannot_be_told_the_champion_stays() -> None:
    nothing_anomalous = np.zeros(NUM_WINDOWS, dtype=bool)
    contest = held(finding(12), finding(3), nothing_anomalous)
    assert not contest.is_promoted
    assert "it cannot be told on 36 new windows, 0 anomalous" in contest.reason
    few = held(finding(12)[:29], finding(3)[:29], EVERY_THIRD[:29])
    assert not few.is_promoted
    assert "29 windows that neither was trained on are too few to tell (wanted 30)" in few.reason
    none = held(finding(12), finding(3), are_newer=nothing_anomalous)
    assert (none.num_windows, none.num_left_out, none.is_promoted) == (0, 36, False)


def test_windows_of_a_training_count_for_neither() -> None:
    """The champion knows the first six by heart; on the others the candidate is the better one."""
    are_newer = np.arange(NUM_WINDOWS) >= 6
    champion, candidate = finding(0), finding(12)
    champion[PLACES[:2]] = 0.9
    candidate[PLACES[:2]] = 0.1
    contest = held(candidate, champion, are_newer=are_newer, unknown="Some are gone.")
    assert (contest.num_windows, contest.num_anomalous, contest.num_left_out) == (30, 10, 6)
    assert (contest.figures[0].candidate, contest.figures[0].champion) == (1, 0)
    assert contest.is_promoted
    assert contest.reason.endswith("on 30 new windows, 10 anomalous. Some are gone.")


def test_one_that_learned_too_little_is_not_promoted_whatever_its_figures_are() -> None:
    better = held(finding(9), finding(6))
    contest = held_back(better, "learned too little: its loss ended at 0.093")
    assert not contest.is_promoted
    assert contest.reason == (
        "The champion stays: the candidate learned too little: its loss ended at 0.093. "
        + better.reason
    )
    assert contest.figures == better.figures
    worse = held_back(held(finding(3), finding(12)), "learned too little: so")
    assert worse.reason.startswith("The candidate learned too little: so. The candidate is worse")
