"""The report's figures in short, as rows of tables: for Prefect, a terminal, a comparison."""

import json
from collections.abc import Mapping

from logllm_core.results import MODEL
from logllm_core.results.figures import PAIRED, DetectorFigures, Interval, OverSeeds
from logllm_core.results.report import Alerts
from logllm_core.results.training import ScoringFigures

Row = dict[str, str | int | float | None]  # of a table, by column

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


def shown(value: float | None, *, key: str = "") -> str:
    """A figure as text; false alarms are told with one digit."""
    if value is None:
        return UNDEFINED
    return f"{value:.1f}" if key == "false_alarms_per_10000" else f"{value:.3f}"


def shown_threshold(value: float) -> str:
    """To three places; one so near to 0 or 1 that it would read as that, as it is."""
    return f"{value:.3f}" if 0.001 <= value <= 0.999 or value in (0, 1) else repr(value)


def shown_interval(bounds: Interval | None, *, key: str = "") -> str:
    if bounds is None:
        return UNDEFINED
    between = "-" if bounds.low >= 0 else " to "
    return f"{shown(bounds.low, key=key)}{between}{shown(bounds.high, key=key)}"


def rounding_sentence(scoring: ScoringFigures) -> str | None:
    """How many test windows rounding may judge otherwise; None where none were compared."""
    rounding, number = scoring.rounding, scoring.num_windows_within_rounding
    if rounding is None or not rounding.num_windows:
        return None
    compared = "1 window" if rounding.num_windows == 1 else f"{rounding.num_windows:,} windows"
    measured = (
        f"rounding (log-odds {_shown_log_odds(rounding.log_odds)}, measured on {compared}, "
        f"{' and '.join(rounding.by_way)})"
    )
    if not number:
        return f"No test window lies nearer to the decision than {measured}."
    lie, their = ("lies", "its") if number == 1 else ("lie", "their")
    return (
        f"{number:,} of {scoring.num_windows:,} test windows {lie} nearer to the decision than "
        f"{measured}; on another processor {their} verdict may differ."
    )


def _shown_log_odds(value: float) -> str:
    return f"{value:.3f}" if value >= MIN_SHOWN_LOG_ODDS else f"below {MIN_SHOWN_LOG_ODDS}"


def figure_rows(detectors: Mapping[str, DetectorFigures]) -> list[Row]:
    """A row a detector, the model first; what is undefined says so."""
    rows = []
    for name, detector in detectors.items():
        row: Row = {"detector": name}
        for key, figure in detector.by_name.items():
            row[key] = _rounded(figure.value, key=key)
            if key in PAIRED:
                row[f"{key}_interval"] = shown_interval(figure.interval)
        rows.append(row)
    return rows


def seed_choice(seeds: OverSeeds | None) -> str | None:
    """Which of several seeds was kept and why, as a sentence; None where it is the first."""
    if seeds is None or seeds.kept is None:
        return None
    figures = "; ".join(
        f"seed {of_seed.seed}: PR-AUC {shown(of_seed.pr_auc)}, log loss {shown(of_seed.log_loss)}"
        for of_seed in sorted(seeds.kept.validation, key=lambda of_seed: of_seed.seed)
    )
    return (
        f"Seed {seeds.kept.seed} is kept, which the validation split prefers by PR-AUC, then by "
        f"log loss, then as the smaller seed ({figures}); the test split had no say."
    )


def alert_rows(alerts: Alerts | None) -> list[Row]:
    """A row an alert type, those of most test windows first; none where lines have no labels."""
    return [
        {
            "alert": cut(kind.alert),
            "is_in_training": kind.is_in_training,
            "num_train_windows": kind.num_train_windows,
            "num_test_windows": kind.num_test_windows,
            "recall": _rounded(kind.recall[MODEL]),
        }
        for kind in (alerts.types if alerts else ())[:NUM_SHOWN_ALERTS]
    ]


def cut(text: str) -> str:
    """The beginning of a long text from the log."""
    is_long = len(text) > NUM_SHOWN_CHARACTERS
    return text[:NUM_SHOWN_CHARACTERS] + "\N{HORIZONTAL ELLIPSIS}" * is_long


def as_setting(value: object) -> str:
    """The value of a setting, or several by their names, as a person reads them."""
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {as_setting(part)}" for name, part in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rounded(value: float | None, *, key: str = "") -> float | str:
    """A figure with the digits that are shown; rounded once, it reads alike everywhere."""
    return UNDEFINED if value is None else float(shown(value, key=key))
