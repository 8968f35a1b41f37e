"""A detector's figures, each with what doubts it: intervals, differences, spreads over seeds.

What is undefined (a precision without alarms, a curve with one class) is None, never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

# The figures that have an interval wherever they are told, and that decide who is ahead.
PairedFigure = Literal["f1", "pr_auc"]
PAIRED: tuple[PairedFigure, ...] = ("f1", "pr_auc")


class Interval(NamedTuple):
    """Where the middle 95 % of the resamples lie."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0 <= self.high

    def __repr__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


@dataclass(frozen=True, slots=True, repr=False)
class Figure:
    """A value and its 95 % interval."""

    value: float | None
    interval: Interval | None = None  # None where too few resamples define it, or none were drawn

    @property
    def low(self) -> float | None:
        return self.interval and self.interval.low

    @property
    def high(self) -> float | None:
        return self.interval and self.interval.high

    def __repr__(self) -> str:
        if self.value is None:
            return "undefined"
        return f"{self.value:.3f}" + (f" ({self.interval})" if self.interval else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdFigures:
    """Counts and rates of the verdicts at one threshold."""

    threshold: float  # above it a score is an alarm
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    precision: Figure
    recall: Figure
    f1: Figure
    specificity: Figure
    mcc: Figure  # Matthews' correlation of verdicts and labels, -1 to 1
    false_alarms_per_10000: Figure  # among 10,000 windows of any kind


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class DetectorFigures:
    """What a detector is worth on the test windows."""

    at_decision: ThresholdFigures  # where the more likely answer is the verdict
    at_validation_threshold: ThresholdFigures | None  # None where no threshold could be chosen
    pr_auc: Figure  # average precision
    roc_auc: Figure
    oracle_f1: float | None  # needs the labels: no detector can be set up that way in practice

    @property
    def precision(self) -> Figure:
        return self.at_decision.precision

    @property
    def recall(self) -> Figure:
        return self.at_decision.recall

    @property
    def f1(self) -> Figure:
        return self.at_decision.f1

    @property
    def by_name(self) -> dict[str, Figure]:
        """All that is told of a detector in a row, by the keys that the files have."""
        decided, chosen = self.at_decision, self.at_validation_threshold
        return {
            "precision": decided.precision,
            "recall": decided.recall,
            "f1": decided.f1,
            "mcc": decided.mcc,
            "specificity": decided.specificity,
            "false_alarms_per_10000": decided.false_alarms_per_10000,
            "f1_at_validation_threshold": chosen.f1 if chosen else Figure(None),
            "pr_auc": self.pr_auc,
            "roc_auc": self.roc_auc,
            "oracle_f1": Figure(self.oracle_f1),
        }

    def __repr__(self) -> str:
        return f"F1 {self.f1}, PR-AUC {self.pr_auc}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One detector's figure minus another's, on the same resampled windows."""

    difference: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StrongestOther:
    """The model's figure minus that of the strongest other detector."""

    detector: str
    difference: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ToStrongest:
    """The model beside the strongest other, which need not be the same for both figures."""

    f1: StrongestOther | None  # None where a figure is undefined
    pr_auc: StrongestOther | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A figure over several trainings."""

    values: tuple[float, ...]
    mean: float
    std: float  # of the sample (n - 1)
    min: float
    max: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedFigures:
    """What the validation split says of one seed."""

    seed: int
    pr_auc: float | None  # None with one class
    log_loss: float  # in nats a window


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptSeed:
    """The seed that was kept, and what decided."""

    seed: int
    validation: tuple[SeedFigures, ...]  # of all seeds


@dataclass(frozen=True, kw_only=True, slots=True)
class OverSeeds:
    """Figures over the seeds that the same was trained with, the report's own first."""

    seeds: tuple[int, ...]
    kept: KeptSeed | None = None  # None where the report's own is the first that was asked for
    figures: Mapping[str, Spread | None]  # None where a seed lacks the figure
