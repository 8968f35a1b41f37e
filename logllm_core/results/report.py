"""What `report.json` holds, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from logllm_core.results import MODEL
from logllm_core.results.data_card import DataCard, Facts
from logllm_core.results.figures import DetectorFigures, Figure, OverSeeds, ToStrongest
from logllm_core.results.shown_windows import ShownCounts, ShownWindow, WindowKind
from logllm_core.results.training import Learned, ScoringFigures, StageFigures

PAGE_NAME = "report.html"
DATASET_FACTS = {"title", "page", "licence", "citation"}  # of a data set's file


@dataclass(frozen=True, kw_only=True, slots=True)
class AboutDataset:
    """What the page says first: which log, and whose."""

    dataset: str
    title: str
    dataset_page: str | None
    licence: str | None
    citation: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationFigures:
    """The model on the validation split."""

    num_windows: int
    num_anomalous: int
    f1: float | None
    pr_auc: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetFigures:
    """A detector on a part of the test windows."""

    precision: float | None
    recall: float | None
    f1: float | None
    pr_auc: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Subset:
    """A part of the test windows, as each detector judges it."""

    num_windows: int
    num_anomalous: int
    detectors: Mapping[str, SubsetFigures]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnseenSubsets:
    """The test windows that no detector can know by heart."""

    unseen_sequences: Subset
    unseen_message_sets: Subset


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertType:
    """A label of lines, and the share of its test windows that each detector flags."""

    alert: str
    is_in_training: bool
    num_train_windows: int
    num_test_windows: int
    recall: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertGroup:
    """The anomalous test windows with an alert type of training, or without any."""

    num_windows: int
    recall: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alerts:
    """Recall by alert type, those of most test windows first."""

    types: tuple[AlertType, ...]
    seen: AlertGroup
    unseen: AlertGroup


@dataclass(frozen=True, kw_only=True, slots=True)
class RankingFigures:
    """How well a ranking puts the lines that are alerts first."""

    hit_at_1: float | None
    hit_at_3: float | None
    pr_auc: float | None  # over all lines of flagged windows


@dataclass(frozen=True, kw_only=True, slots=True)
class LineRankings:
    """Whether the lines that carried an alarm are those that their labels name."""

    num_flagged_windows: int
    num_windows: int  # of these: those that were looked into
    num_windows_with_alerts: int
    num_lines: int
    num_alert_lines: int
    num_alert_lines_missed: int  # in windows that were not flagged
    rankings: Mapping[str, RankingFigures]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """The windows with a probability from `low` up to, not including, `high` (the last: 1 too)."""

    low: float
    high: float
    num_windows: int
    mean_probability: float | None  # None in an empty bin
    anomalous_fraction: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Probabilities against what came true; None without windows."""

    ece: float | None  # expected calibration error: mean gap, weighted by windows
    brier: float | None  # mean squared distance between probability and label (Brier, 1950)
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Report(AboutDataset):
    """A run's figures on its test split, and all that is told beside them.

    A few values are None in reports of earlier versions, which had none of their kind.
    """

    recipe: str
    backbones: str
    verdict: str  # the first paragraph
    learned: Learned | None = None  # None in reports of before
    detectors: Mapping[str, DetectorFigures]  # the model first
    not_applicable: Mapping[str, str]  # why the other simple detectors could not be had
    differences: ToStrongest
    seeds: OverSeeds | None  # None with a single seed
    validation: ValidationFigures | None  # None without a validation split
    subsets: UnseenSubsets
    alerts: Alerts | None  # None where lines have no labels
    lines: LineRankings | None  # likewise
    calibration: Calibration
    data_card: DataCard
    stages: tuple[StageFigures, ...]
    scoring: ScoringFigures
    settings: Facts  # of the recipe
    confusion: Mapping[WindowKind, ShownCounts]
    windows: tuple[ShownWindow, ...]
    versions: Facts
    machine: Facts
    folder: Path | None = field(default=None, compare=False)  # that it was read from

    @property
    def model(self) -> DetectorFigures:
        return self.detectors[MODEL]

    @property
    def f1(self) -> Figure:
        return self.model.f1

    @property
    def pr_auc(self) -> Figure:
        return self.model.pr_auc

    @property
    def page(self) -> Path:
        """The report for people."""
        assert self.folder, "a report that was not read from its folder"
        return self.folder / PAGE_NAME

    def __repr__(self) -> str:
        return f"Report({self.dataset}: {self.model!r})"
