"""The report's figures in short, as rows of tables: for Prefect, a terminal, a comparison."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from logllm_core.pages import MODEL
from logllm_core.store.store import Json

Content = Mapping[str, Any]  # of report.json

UNDEFINED = "undefined"
NUM_SHOWN_ALERTS = 100  # types of alerts, those of most windows first
NUM_SHOWN_CHARACTERS = 200  # of a text from the log
MIN_SHOWN_LOG_ODDS = 0.001  # with three places; float32 rounds to less
LABELS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "mcc": "MCC",
    "specificity": "specificity",
    "false_alarms_per_10000": "false alarms per 10,000 windows",
    "f1_at_validation_threshold": "F1 at the validation threshold",
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "oracle_f1": "oracle F1",
    "hit_at_1": "hit@1",
    "hit_at_3": "hit@3",
}
AT_DECISION = ("precision", "recall", "f1", "mcc", "specificity", "false_alarms_per_10000")
AT_ANY_THRESHOLD = ("pr_auc", "roc_auc", "oracle_f1")
PEAKS = ("peak_memory_bytes", "peak_gpu_memory_bytes")


def shown(value: float | None, *, key: str = "") -> str:
    """A figure as text; false alarms are told with one digit."""
    if value is None:
        return UNDEFINED
    return f"{value:.1f}" if key == "false_alarms_per_10000" else f"{value:.3f}"


def shown_threshold(value: float) -> str:
    """To three places; one so near to 0 or 1 that it would read as that, as it is."""
    return f"{value:.3f}" if 0.001 <= value <= 0.999 or value in (0, 1) else repr(value)


def shown_interval(bounds: Sequence[float] | None, *, key: str = "") -> str:
    if bounds is None:
        return UNDEFINED
    low, high = bounds
    between = "-" if low >= 0 else " to "
    return f"{shown(low, key=key)}{between}{shown(high, key=key)}"


def rounding_sentence(content: Content) -> str | None:
    """How many test windows rounding may judge otherwise; None where none were compared."""
    scoring = content["scoring"]
    rounding, number = scoring["rounding"], scoring["num_windows_within_rounding"]
    if not rounding["num_windows"]:
        return None
    compared = (
        "1 window" if rounding["num_windows"] == 1 else f"{rounding['num_windows']:,} windows"
    )
    measured = (
        f"rounding (log-odds {_shown_log_odds(rounding['log_odds'])}, measured on {compared}, "
        f"{' and '.join(rounding['by_way'])})"
    )
    if not number:
        return f"No test window lies nearer to the decision than {measured}."
    lie, their = ("lies", "its") if number == 1 else ("lie", "their")
    return (
        f"{number:,} of {scoring['num_windows']:,} test windows {lie} nearer to the decision than "
        f"{measured}; on another processor {their} verdict may differ."
    )


def _shown_log_odds(value: float) -> str:
    return f"{value:.3f}" if value >= MIN_SHOWN_LOG_ODDS else f"below {MIN_SHOWN_LOG_ODDS}"


def figures_of(detector: Content) -> dict[str, tuple[float | None, Sequence[float] | None]]:
    """A detector's figures and their 95 % intervals, by the names of `LABELS`."""
    intervals = detector["intervals"]
    chosen, bounds = detector["at_validation_threshold"], intervals["at_validation_threshold"]
    found = {
        key: (detector["at_decision"][key], intervals["at_decision"][key]) for key in AT_DECISION
    }
    found["f1_at_validation_threshold"] = (chosen and chosen["f1"], bounds and bounds["f1"])
    return found | {key: (detector[key], intervals.get(key)) for key in AT_ANY_THRESHOLD}


def figure_rows(content: Content) -> list[dict[str, Json]]:
    """A row a detector, the model first; what is undefined says so."""
    with_interval = {"f1", "pr_auc"}
    rows = []
    for name, detector in content["detectors"].items():
        row: dict[str, Json] = {"detector": name}
        for key, (value, bounds) in figures_of(detector).items():
            row[key] = _rounded(value, key=key)
            if key in with_interval:
                row[f"{key}_interval"] = shown_interval(bounds)
        rows.append(row)
    return rows


def seed_choice(seeds: Content | None) -> str | None:
    """Which of several seeds was kept and why, as a sentence; None where it is the first."""
    kept = seeds and seeds["kept"]
    if not kept:
        return None
    figures = "; ".join(
        f"seed {found['seed']}: PR-AUC {shown(found['pr_auc'])}, "
        f"log loss {shown(found['log_loss'])}"
        for found in sorted(kept["validation"], key=lambda found: int(found["seed"]))
    )
    return (
        f"Seed {kept['seed']} is kept, which the validation split prefers by PR-AUC, then by log "
        f"loss, then as the smaller seed ({figures}); the test split had no say."
    )


def alert_rows(content: Content) -> list[dict[str, Json]]:
    """A row an alert type, those of most test windows first; none where lines have no labels."""
    alerts = content["alerts"]
    return [
        {
            "alert": cut(found["alert"]),
            "is_in_training": found["is_in_training"],
            "num_train_windows": found["num_train_windows"],
            "num_test_windows": found["num_test_windows"],
            "recall": _rounded(found["recall"][MODEL]),
        }
        for found in (alerts["types"] if alerts else [])[:NUM_SHOWN_ALERTS]
    ]


def cut(text: str) -> str:
    """The beginning of a long text from the log."""
    is_long = len(text) > NUM_SHOWN_CHARACTERS
    return text[:NUM_SHOWN_CHARACTERS] + "\N{HORIZONTAL ELLIPSIS}" * is_long


def as_setting(value: Json) -> str:
    """The value of a setting, or several by their names, as a person reads them."""
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {as_setting(one)}" for name, one in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rounded(value: float | None, *, key: str = "") -> float | str:
    """A figure with the digits that are shown; rounded once, it reads alike everywhere."""
    return UNDEFINED if value is None else float(shown(value, key=key))
