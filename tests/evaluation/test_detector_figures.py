from dataclasses import replace

import numpy as np
import pytest

from logllm_core.evaluation.detector_figures import (
    detector_figures,
    over_seeds,
    strongest,
    to_strongest,
    verdict,
)
from logllm_core.evaluation.judged_splits import Judged
from logllm_core.results.figures import (
    DetectorFigures,
    Figure,
    Interval,
    KeptSeed,
    SeedFigures,
    StrongestOther,
    ThresholdFigures,
    ToStrongest,
)

LABELS = np.array([True, False])
NO_DIFFERENCES = ToStrongest(f1=None, pr_auc=None)
UNDEFINED = Figure(None)
NOTHING = ThresholdFigures(
    threshold=0.5,
    true_positives=0,
    false_positives=0,
    false_negatives=0,
    true_negatives=0,
    precision=UNDEFINED,
    recall=UNDEFINED,
    f1=UNDEFINED,
    specificity=UNDEFINED,
    mcc=UNDEFINED,
    false_alarms_per_10000=UNDEFINED,
)


def judged(**scores: list[float]) -> Judged:
    return Judged(
        is_anomalous=LABELS,
        scores={name: np.array(of_detector) for name, of_detector in scores.items()},
    )


def detector(
    f1: float | None, pr_auc: float | None, at_validation: float | None = None
) -> DetectorFigures:
    chosen = None if at_validation is None else replace(NOTHING, f1=Figure(at_validation))
    return DetectorFigures(
        at_decision=replace(NOTHING, f1=Figure(f1)),
        at_validation_threshold=chosen,
        pr_auc=Figure(pr_auc),
        roc_auc=UNDEFINED,
        oracle_f1=None,
    )


def test_thresholds_come_from_the_validation_split() -> None:
    test = judged(LogLLM=[0.4, 0.1], rule=[0.9, 0.8])
    validation = judged(LogLLM=[0.3, 0.1], rule=[1.0, 0.0])
    figures = detector_figures(test, validation)
    model, rule = figures["LogLLM"], figures["rule"]
    # Midway between .3 and .1: the anomaly with .4, missed at .5, is found.
    assert model.f1.value == 0.0
    assert model.at_validation_threshold
    assert model.at_validation_threshold.threshold == pytest.approx(0.2)
    assert model.at_validation_threshold.f1.value == 1.0
    # .5 for the rule, which flags both.
    assert rule.at_validation_threshold
    assert rule.at_validation_threshold.f1.value == pytest.approx(2 / 3)
    assert model.oracle_f1 == 1.0


def test_without_a_validation_split_no_threshold_is_chosen() -> None:
    figures = detector_figures(judged(LogLLM=[0.4, 0.1]), None)
    assert figures["LogLLM"].at_validation_threshold is None


def test_the_model_is_measured_against_the_strongest_by_each_figure() -> None:
    test = Judged(
        is_anomalous=np.array([True, True, False, False] * 25),
        scores={
            "LogLLM": np.array([0.9, 0.8, 0.1, 0.2] * 25),
            "weak": np.array([0.1, 0.1, 0.9, 0.9] * 25),
            "rule": np.array([0.9, 0.4, 0.1, 0.2] * 25),
        },
    )
    differences = to_strongest(detector_figures(test, None), test)
    # The rule finds half: F1 2/3; it ranks perfectly.
    assert differences.f1
    assert differences.f1.detector == "rule"
    assert differences.f1.difference == pytest.approx(1 / 3)
    assert differences.f1.interval
    assert differences.f1.interval.low > 0
    assert differences.pr_auc == StrongestOther(
        detector="rule", difference=0.0, interval=Interval(0.0, 0.0)
    )


def test_the_spread_over_seeds_is_that_worked_out_by_hand() -> None:
    # F1 1, 2/3 (both flagged) and 1: mean 8/9, deviation sqrt((1/81 + 4/81 + 1/81) / 2).
    scores = {5: np.array([0.9, 0.1]), 6: np.array([0.9, 0.6]), 7: np.array([0.6, 0.5])}
    over = over_seeds(LABELS, scores)
    assert over is not None
    assert over.seeds == (5, 6, 7)
    f1 = over.figures["f1"]
    assert f1
    assert f1.values == pytest.approx([1, 2 / 3, 1])
    assert f1.mean == pytest.approx(8 / 9)
    assert f1.std == pytest.approx((3 / 81) ** 0.5)
    assert (f1.min, f1.max) == pytest.approx((2 / 3, 1.0))


def test_a_figure_that_one_seed_lacks_has_no_mean_and_one_seed_has_no_spread() -> None:
    over = over_seeds(LABELS, {0: np.array([0.9, 0.1]), 1: np.array([0.1, 0.1])})
    assert over is not None
    assert over.figures["precision"] is None
    recall = over.figures["recall"]
    assert recall
    assert recall.mean == 0.5
    assert over_seeds(LABELS, {0: np.array([0.9, 0.1])}) is None


def test_the_verdict_tells_who_is_ahead() -> None:
    detectors = {
        "LogLLM": detector(0.9, 0.8),
        "rule": detector(0.5, 0.8),
        "tree": detector(0.7, None),
    }
    assert strongest(detectors, "pr_auc") == "rule"
    assert verdict(detectors, NO_DIFFERENCES) == (
        "LogLLM reaches F1 0.900, ahead of tree (0.700), and PR-AUC 0.800, level with rule (0.800)."
    )


def test_the_verdict_names_everyone_that_beats_the_model_and_by_what() -> None:
    detectors = {
        "LogLLM": detector(0.6, 0.5, 0.6),
        "rule": detector(0.5, 0.8, 0.7),
        "tree": detector(0.7, 0.9, None),
    }
    assert verdict(detectors, NO_DIFFERENCES) == (
        "LogLLM reaches F1 0.600, behind tree (0.700), and PR-AUC 0.500, behind tree (0.900). "
        "It is beaten by tree (F1, PR-AUC); rule (F1 at the validation threshold, PR-AUC)."
    )


def test_a_difference_of_rounding_is_no_victory() -> None:
    # Average precision adds 29 recalls of 1/29: in another order the sum is 2e-16 short of 1.
    detectors = {"LogLLM": detector(1 - 2e-16, 1 - 2e-16), "rule": detector(1.0, 1.0)}
    assert verdict(detectors, NO_DIFFERENCES) == (
        "LogLLM reaches F1 1.000, level with rule (1.000), and PR-AUC 1.000, level with rule "
        "(1.000)."
    )


def test_the_verdict_tells_a_lead_that_may_be_chance() -> None:
    detectors = {"LogLLM": detector(0.9, 0.8), "rule": detector(0.5, 0.5)}
    to_best = ToStrongest(
        f1=StrongestOther(detector="rule", difference=0.4, interval=Interval(-0.1, 0.7)),
        pr_auc=StrongestOther(detector="rule", difference=0.3, interval=Interval(0.1, 0.5)),
    )
    assert verdict(detectors, to_best) == (
        "LogLLM reaches F1 0.900, ahead of rule (0.500), though by no more than chance may do, "
        "and PR-AUC 0.800, ahead of rule (0.500)."
    )


def test_the_verdict_on_normal_windows_alone_claims_nothing() -> None:
    detectors = {"LogLLM": detector(None, None), "rule": detector(None, None)}
    assert verdict(detectors, NO_DIFFERENCES) == (
        "LogLLM reaches F1 undefined, and PR-AUC undefined."
    )


def test_a_model_that_learned_too_little_is_told_first() -> None:
    detectors = {"LogLLM": detector(None, None), "rule": detector(None, None)}
    assert verdict(detectors, NO_DIFFERENCES, "This model learned too little: so.") == (
        "This model learned too little: so. LogLLM reaches F1 undefined, and PR-AUC undefined."
    )


def test_how_a_seed_was_chosen_stands_beside_the_spread() -> None:
    scores = {6: np.array([0.9, 0.6]), 5: np.array([0.9, 0.1])}
    figures = (SeedFigures(seed=5, pr_auc=0.5, log_loss=0.2),)
    kept = KeptSeed(seed=6, validation=figures)
    over = over_seeds(LABELS, scores, kept)
    assert over
    assert (over.seeds, over.kept) == ((6, 5), kept)
