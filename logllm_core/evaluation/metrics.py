"""Figures of a detector on labelled windows; anomalous is the positive class.

What is undefined (a precision without alarms, a curve with one class) is None, never 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from logllm_core.detection import DECISION

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Counts and rates at the fixed decision, and the areas under two curves."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None
    pr_auc: float | None  # average precision
    roc_auc: float | None


def measure(is_anomalous: Labels, scores: Scores) -> Figures:
    """Figures of scores in [0, 1] against the labels, section V-C and the two areas.

    Args:
        is_anomalous: the labels.
        scores: higher is more anomalous; above 0.5 the verdict is "anomalous".
    """
    verdicts = scores > DECISION
    tp = int((verdicts & is_anomalous).sum())
    fp = int((verdicts & ~is_anomalous).sum())
    fn = int((~verdicts & is_anomalous).sum())
    has_both = 0 < is_anomalous.sum() < len(is_anomalous)
    return Figures(
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        true_negatives=len(scores) - tp - fp - fn,
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        pr_auc=float(average_precision_score(is_anomalous, scores)) if has_both else None,
        roc_auc=float(roc_auc_score(is_anomalous, scores)) if has_both else None,
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
