"""Every detector's figures on the same test windows, with what doubts them: intervals and seeds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from logllm_core.evaluation.measures.intervals import difference, intervals
from logllm_core.evaluation.measures.metrics import Labels, Scores, choose_threshold, judge, rank
from logllm_core.evaluation.seed_choice import Kept
from logllm_core.pages import MODEL
from logllm_core.pages.figures_as_text import LABELS, shown
from logllm_core.store.store import Json

F1_AT_VALIDATION = "f1_at_validation_threshold"
SEED_FIGURES = ("precision", "recall", "f1", "mcc", "pr_auc", "roc_auc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A split's labels, and each detector's scores of its windows; the model comes first."""

    is_anomalous: Labels
    scores: Mapping[str, Scores]


def detector_figures(test: Judged, validation: Judged | None) -> dict[str, dict[str, Json]]:
    """Verdicts at the fixed decision and at a threshold that the validation split chose."""
    thresholds = {
        name: choose_threshold(validation.is_anomalous, validation.scores[name])
        if validation
        else None
        for name in test.scores
    }
    found = intervals(test.is_anomalous, test.scores, thresholds)
    return {
        name: {
            "at_decision": asdict(judge(test.is_anomalous, scores)),
            "at_validation_threshold": None
            if (threshold := thresholds[name]) is None
            else asdict(judge(test.is_anomalous, scores, threshold)),
            **asdict(rank(test.is_anomalous, scores)),
            "intervals": found[name],
        }
        for name, scores in test.scores.items()
    }


def figure(detector: Mapping[str, Json], name: str) -> float | None:
    """One figure of a detector, at the fixed decision where it depends on one.

    Rounded to nine places: sums in another order differ beyond, and are no victory.
    """
    if name == F1_AT_VALIDATION:
        chosen = detector["at_validation_threshold"]
        found = None if chosen is None else chosen["f1"]
    else:
        found = (detector if name in detector else detector["at_decision"])[name]
    return None if found is None else round(found, 9)


def strongest(detectors: Mapping[str, Mapping[str, Json]], name: str) -> str | None:
    """The detector beside the model with the highest figure."""
    values = {
        detector: value
        for detector, found in detectors.items()
        if detector != MODEL and (value := figure(found, name)) is not None
    }
    return max(values, key=lambda detector: values[detector], default=None)


def differences(
    detectors: Mapping[str, Mapping[str, Json]], test: Judged
) -> dict[str, dict[str, Json] | None]:
    """The model minus the strongest of the others, on the same resampled windows."""
    found: dict[str, dict[str, Json] | None] = {}
    for name in ("f1", "pr_auc"):
        other = strongest(detectors, name)
        both = other and difference(test.is_anomalous, test.scores[MODEL], test.scores[other], name)
        found[name] = (
            {"detector": other, "difference": both[0], "interval": both[1]} if both else None
        )
    return found


def over_seeds(
    is_anomalous: Labels, scores: Mapping[int, Scores], kept: Kept | None = None
) -> dict[str, Json] | None:
    """Mean and spread of the model's figures over the seeds that it was trained with.

    `std` is the sample's standard deviation (n - 1). None with a single seed.

    Args:
        kept: how the report's own seed was chosen; None where it is the first.
    """
    if len(scores) < 2:
        return None
    runs = [asdict(judge(is_anomalous, s)) | asdict(rank(is_anomalous, s)) for s in scores.values()]
    return {
        "seeds": list(scores),
        "kept": kept and asdict(kept),
        "figures": {name: _spread([run[name] for run in runs]) for name in SEED_FIGURES},
    }


def _spread(values: list[float | None]) -> dict[str, Json] | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return {
        "values": known,
        "mean": float(np.mean(known)),
        "std": float(np.std(known, ddof=1)),
        "min": min(known),
        "max": max(known),
    }


def verdict(
    detectors: Mapping[str, Mapping[str, Json]],
    differences: Mapping[str, Mapping[str, Json] | None],
    warning: str | None = None,
) -> str:
    """The report's first paragraph: how the model stands beside the simple detectors.

    Args:
        warning: that it learned too little; it comes first.
    """
    standing = [_standing(detectors, name, differences[name]) for name in ("f1", "pr_auc")]
    text = f"{MODEL} reaches {standing[0]}, and {standing[1]}."
    winners = _winners(detectors)
    if winners:
        named = "; ".join(f"{name} ({', '.join(by)})" for name, by in winners.items())
        text += f" It is beaten by {named}."
    return f"{warning} {text}" if warning else text


def _standing(
    detectors: Mapping[str, Mapping[str, Json]],
    name: str,
    to_best: Mapping[str, Json] | None,
) -> str:
    own, other = figure(detectors[MODEL], name), strongest(detectors, name)
    best = figure(detectors[other], name) if other else None
    if own is None or best is None:
        return f"{LABELS[name]} {shown(own)}"
    word = "ahead of" if own > best else "behind" if own < best else "level with"
    text = f"{LABELS[name]} {shown(own)}, {word} {other} ({shown(best)})"
    if own != best and to_best and (interval := to_best["interval"]):
        low, high = interval
        if low <= 0 <= high:
            text += ", though by no more than chance may do"
    return text


def _winners(detectors: Mapping[str, Mapping[str, Json]]) -> dict[str, list[str]]:
    """The detectors that have a higher figure than the model, and which figures these are."""
    winners: dict[str, list[str]] = {}
    for name in ("f1", F1_AT_VALIDATION, "pr_auc"):
        own = figure(detectors[MODEL], name)
        for detector, found in detectors.items():
            other = figure(found, name)
            if own is not None and other is not None and other > own:
                winners.setdefault(detector, []).append(LABELS[name])
    return winners
