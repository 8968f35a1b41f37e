"""Every detector's figures on the same test windows, with what doubts them: intervals and seeds."""

from collections.abc import Mapping, Sequence

import numpy as np

from logllm_core.evaluation.judged_splits import Judged
from logllm_core.evaluation.measures.intervals import Bounds, difference, intervals
from logllm_core.evaluation.measures.metrics import (
    Labels,
    Scores,
    Verdicts,
    choose_threshold,
    judge,
    rank,
)
from logllm_core.pages.figures_as_text import LABELS, shown
from logllm_core.results import MODEL
from logllm_core.results.figures import (
    DetectorFigures,
    Figure,
    KeptSeed,
    OverSeeds,
    PairedFigure,
    Spread,
    StrongestOther,
    ThresholdFigures,
    ToStrongest,
)

Detectors = Mapping[str, DetectorFigures]
F1_AT_VALIDATION = "f1_at_validation_threshold"
NUM_PLACES = 9  # sums in another order differ beyond, and are no victory


def detector_figures(test: Judged, validation: Judged | None) -> dict[str, DetectorFigures]:
    """Verdicts at the fixed decision and at a threshold that the validation split chose."""
    thresholds = {
        name: choose_threshold(validation.is_anomalous, validation.scores[name])
        if validation
        else None
        for name in test.scores
    }
    bounds = intervals(test.is_anomalous, test.scores, thresholds)
    figures = {}
    for name, scores in test.scores.items():
        areas, threshold = rank(test.is_anomalous, scores), thresholds[name]
        at_chosen = bounds[name].at_validation_threshold
        figures[name] = DetectorFigures(
            at_decision=_at_threshold(judge(test.is_anomalous, scores), bounds[name].at_decision),
            at_validation_threshold=None
            if threshold is None or at_chosen is None
            else _at_threshold(judge(test.is_anomalous, scores, threshold), at_chosen),
            pr_auc=Figure(areas.pr_auc, bounds[name].areas["pr_auc"]),
            roc_auc=Figure(areas.roc_auc, bounds[name].areas["roc_auc"]),
            oracle_f1=areas.oracle_f1,
        )
    return figures


def _at_threshold(verdicts: Verdicts, bounds: Bounds) -> ThresholdFigures:
    return ThresholdFigures(
        threshold=verdicts.threshold,
        true_positives=verdicts.true_positives,
        false_positives=verdicts.false_positives,
        false_negatives=verdicts.false_negatives,
        true_negatives=verdicts.true_negatives,
        precision=Figure(verdicts.precision, bounds["precision"]),
        recall=Figure(verdicts.recall, bounds["recall"]),
        f1=Figure(verdicts.f1, bounds["f1"]),
        specificity=Figure(verdicts.specificity, bounds["specificity"]),
        mcc=Figure(verdicts.mcc, bounds["mcc"]),
        false_alarms_per_10000=Figure(
            verdicts.false_alarms_per_10000, bounds["false_alarms_per_10000"]
        ),
    )


def figure(detector: DetectorFigures, name: str) -> float | None:
    """One figure of a detector, as it compares with others; at the fixed decision if at any."""
    value = detector.by_name[name].value
    return None if value is None else round(value, NUM_PLACES)


def strongest(detectors: Detectors, name: str) -> str | None:
    """The detector beside the model with the highest figure."""
    values = {
        detector: value
        for detector, figures in detectors.items()
        if detector != MODEL and (value := figure(figures, name)) is not None
    }
    return max(values, key=lambda detector: values[detector], default=None)


def to_strongest(detectors: Detectors, test: Judged) -> ToStrongest:
    """The model minus the strongest of the others, on the same resampled windows."""

    def compared(name: PairedFigure) -> StrongestOther | None:
        other = strongest(detectors, name)
        if other is None:
            return None
        paired = difference(test.is_anomalous, test.scores[MODEL], test.scores[other], name)
        if paired is None:
            return None
        return StrongestOther(
            detector=other, difference=paired.difference, interval=paired.interval
        )

    return ToStrongest(f1=compared("f1"), pr_auc=compared("pr_auc"))


def over_seeds(
    is_anomalous: Labels, scores: Mapping[int, Scores], kept: KeptSeed | None = None
) -> OverSeeds | None:
    """Mean and spread of the model's figures over the seeds that it was trained with.

    None with a single seed.

    Args:
        kept: how the report's own seed was chosen; None where it is the first.
    """
    if len(scores) < 2:
        return None
    verdicts = [judge(is_anomalous, of_seed) for of_seed in scores.values()]
    areas = [rank(is_anomalous, of_seed) for of_seed in scores.values()]
    return OverSeeds(
        seeds=tuple(scores),
        kept=kept,
        figures={
            "precision": _spread([of_seed.precision for of_seed in verdicts]),
            "recall": _spread([of_seed.recall for of_seed in verdicts]),
            "f1": _spread([of_seed.f1 for of_seed in verdicts]),
            "mcc": _spread([of_seed.mcc for of_seed in verdicts]),
            "pr_auc": _spread([of_seed.pr_auc for of_seed in areas]),
            "roc_auc": _spread([of_seed.roc_auc for of_seed in areas]),
        },
    )


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return Spread(
        values=tuple(known),
        mean=float(np.mean(known)),
        std=float(np.std(known, ddof=1)),
        min=min(known),
        max=max(known),
    )


def verdict(detectors: Detectors, differences: ToStrongest, warning: str | None = None) -> str:
    """The report's first paragraph: how the model stands beside the simple detectors.

    Args:
        warning: that it learned too little; it comes first.
    """
    f1 = _standing(detectors, "f1", differences.f1)
    pr_auc = _standing(detectors, "pr_auc", differences.pr_auc)
    text = f"{MODEL} reaches {f1}, and {pr_auc}."
    winners = _winners(detectors)
    if winners:
        named = "; ".join(f"{name} ({', '.join(by)})" for name, by in winners.items())
        text += f" It is beaten by {named}."
    return f"{warning} {text}" if warning else text


def _standing(detectors: Detectors, name: str, to_best: StrongestOther | None) -> str:
    value, other = figure(detectors[MODEL], name), strongest(detectors, name)
    best = figure(detectors[other], name) if other else None
    if value is None or best is None:
        return f"{LABELS[name]} {shown(value)}"
    word = "ahead of" if value > best else "behind" if value < best else "level with"
    text = f"{LABELS[name]} {shown(value)}, {word} {other} ({shown(best)})"
    if value != best and to_best and to_best.interval and to_best.interval.holds_zero:
        text += ", though by no more than chance may do"
    return text


def _winners(detectors: Detectors) -> dict[str, list[str]]:
    """The detectors that have a higher figure than the model, and which figures these are."""
    winners: dict[str, list[str]] = {}
    for name in ("f1", F1_AT_VALIDATION, "pr_auc"):
        of_model = figure(detectors[MODEL], name)
        for detector, figures in detectors.items():
            other = figure(figures, name)
            if of_model is not None and other is not None and other > of_model:
                winners.setdefault(detector, []).append(LABELS[name])
    return winners
