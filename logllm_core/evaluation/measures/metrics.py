"""Figures of a detector on labelled windows; anomalous is the positive class.

What is undefined (a precision without alarms, a curve with one class) is None, never 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from logllm_core.scoring import DECISION

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdicts:
    """Counts and rates at one threshold."""

    threshold: float  # above it a score is an alarm
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None
    specificity: float | None
    mcc: float | None  # Matthews' correlation of verdicts and labels, -1 to 1
    false_alarms_per_10000: float | None  # among 10,000 windows of any kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """What the order of the scores is worth, whatever the threshold; None with one class only."""

    pr_auc: float | None  # average precision
    roc_auc: float | None
    oracle_f1: float | None  # needs the labels: no detector can be set up that way in practice


def judge(is_anomalous: Labels, scores: Scores, threshold: float = DECISION) -> Verdicts:
    """Count verdicts against labels (paper, section V-C); a score above the threshold is an alarm.

    Args:
        is_anomalous: the labels.
        scores: in [0, 1], higher is more anomalous.
        threshold: DECISION gives the verdict that is the more likely answer.
    """
    alarms = scores > threshold
    tp = int((alarms & is_anomalous).sum())
    fp = int((alarms & ~is_anomalous).sum())
    fn = int((~alarms & is_anomalous).sum())
    tn = len(scores) - tp - fp - fn
    measured = rates(*np.array([tp, fp, fn, tn], dtype=np.float64)[:, None])
    return Verdicts(
        threshold=threshold,
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        true_negatives=tn,
        **{name: None if np.isnan(rate[0]) else rate.item() for name, rate in measured.items()},
    )


def rates(tp: Scores, fp: Scores, fn: Scores, tn: Scores) -> dict[str, Scores]:
    """The rates that four counts (or four arrays of counts) give; NaN where one is undefined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return {
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "specificity": tn / (tn + fp),
            "mcc": np.clip((tp * tn - fp * fn) / spread, -1, 1),  # rounding can pass 1
            "false_alarms_per_10000": 10_000 * fp / (tp + fp + fn + tn),
        }


def rank(is_anomalous: Labels, scores: Scores) -> Ranking:
    """The areas under both curves, and the best F1 that any threshold could have here."""
    if not _has_both_classes(is_anomalous):
        return Ranking(pr_auc=None, roc_auc=None, oracle_f1=None)
    return Ranking(
        pr_auc=float(average_precision_score(is_anomalous, scores)),
        roc_auc=float(roc_auc_score(is_anomalous, scores)),
        oracle_f1=best_f1(is_anomalous, scores),
    )


def best_f1(is_anomalous: Labels, scores: Scores) -> float | None:
    """The best F1 that a threshold in [0, 1] can have; None if a class is missing.

    No threshold makes an alarm of a score of 0.
    """
    best = _best_cut(is_anomalous, scores)
    return None if best is None else best[0]


def choose_threshold(is_anomalous: Labels, scores: Scores) -> float | None:
    """The threshold in [0, 1] with the best F1; among equals that with the fewest alarms.

    It lies midway between the lowest score that is an alarm and the next lower one (0 if there is
    none), so that it is not the very score of one window. None if a class is missing.
    """
    best = _best_cut(is_anomalous, scores)
    return None if best is None else best[1]


def _best_cut(is_anomalous: Labels, scores: Scores) -> tuple[float, float] | None:
    """The best F1 and its threshold."""
    if not _has_both_classes(is_anomalous):
        return None
    values, groups = np.unique(scores, return_inverse=True)  # windows of one score fall together
    num_windows = np.bincount(groups)[::-1]
    num_anomalous = np.bincount(groups, weights=is_anomalous)[::-1]
    values = values[::-1]
    num_true = np.cumsum(num_anomalous)
    f1 = 2 * num_true / (np.cumsum(num_windows) + num_true[-1])
    f1[values <= 0] = 0
    best = int(np.argmax(f1))  # the first of equals: the highest score
    if not f1[best]:
        return 0.0, 1.0  # every anomalous window has score 0: silence is as good as any alarm
    lowest = float(values[best])
    next_lower = float(values[best + 1]) if best + 1 < len(values) else 0.0
    middle = next_lower + (lowest - next_lower) / 2
    # Between neighbouring numbers there is no middle; rounded up, it would pass the lowest alarm.
    return float(f1[best]), middle if middle < lowest else next_lower


def _has_both_classes(is_anomalous: Labels) -> bool:
    return bool(0 < is_anomalous.sum() < len(is_anomalous))
