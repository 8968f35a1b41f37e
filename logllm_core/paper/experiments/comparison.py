"""What `comparison.json` holds, as a value; how LogLLM stands in it, in words and as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logllm_core.evaluation.detector_figures import Detectors, figure
from logllm_core.pages.figures_as_text import LABELS, Row, figure_rows, shown
from logllm_core.paper.building_blocks.interface import LabelsUsed, Reads
from logllm_core.paper.experiments.paper_tables import PublishedMinutes, PublishedWindows
from logllm_core.results import MODEL, json_files
from logllm_core.results.data_card import DataCard, Facts
from logllm_core.results.figures import DetectorFigures, Difference, OverSeeds
from logllm_core.results.report import AboutDataset
from logllm_core.results.training import Cost
from logllm_core.store.store import Artifact

FILE_NAME, PAGE_NAME = "comparison.json", "comparison.html"
SIMPLE = "all windows"  # the labels that simple detectors learn from
NUM_NAMED = 3  # of the detectors ahead of LogLLM, in the first paragraph


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodCost(Cost):
    """What a method took; of several seeds the first, and of scoring both splits."""

    fit_seconds: float
    score_seconds: float
    num_steps: int
    num_parameters: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFigures:
    """What the paper prints of a method on this data set."""

    precision: float
    recall: float
    f1: float
    is_possible: bool  # whether such a precision and recall can give this F1


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedMethod:
    """A method of the paper's Table II: all but its figures, which stand among the detectors'."""

    name: str
    title: str
    paper: str
    reads: Reads
    labels: LabelsUsed
    differs: tuple[str, ...]
    rule: str
    settings: Facts
    changes: Facts
    not_run: str | None  # why there are no figures
    published: PublishedFigures | None
    published_minutes: PublishedMinutes | None
    cost: MethodCost | None
    seeds: OverSeeds | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifferences:
    """LogLLM's figures minus another detector's."""

    f1: Difference | None
    pr_auc: Difference | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSize:
    """How many windows a split has."""

    num_windows: int
    num_anomalous: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodComparison(AboutDataset):
    """All methods, and the simple detectors, on one footing."""

    verdict: str
    seeds: tuple[int, ...]
    contenders: tuple[ComparedMethod, ...]
    detectors: Mapping[str, DetectorFigures]
    not_applicable: Mapping[str, str]
    differences: Mapping[str, PairedDifferences]  # none without LogLLM
    validation: SplitSize | None
    published_windows: PublishedWindows | None
    data_card: DataCard
    versions: Facts
    machine: Facts
    backbones: str


def read_comparison(comparison: Artifact) -> MethodComparison:
    return json_files.read(MethodComparison, comparison.path / FILE_NAME)


def verdict(detectors: Detectors, contenders: Sequence[str]) -> str:
    """The page's first paragraph.

    Args:
        contenders: the titles of those that were run; the other detectors are the simple ones.
    """
    f1 = {name: figure(detector, "f1") for name, detector in detectors.items()}
    of_model = f1.pop(MODEL, None)
    sentences = [f"{MODEL} was not run."]
    if MODEL in detectors:
        pr_auc = figure(detectors[MODEL], "pr_auc")
        sentences = [
            f"{MODEL} reaches {LABELS['f1']} {shown(of_model)}, {LABELS['pr_auc']} {shown(pr_auc)}."
        ]
    others = {name: value for name, value in f1.items() if name in contenders}
    simple = {name: value for name, value in f1.items() if name not in contenders}
    for kind, group in (("other methods of the paper", others), ("simple detectors", simple)):
        known = {name: value for name, value in group.items() if value is not None}
        if known:
            sentences.append(_beside(of_model, kind, known))
    return " ".join(sentences)


def _beside(of_model: float | None, kind: str, f1: Mapping[str, float]) -> str:
    """How LogLLM's F1 stands beside those of one kind; without one, the best of them."""
    ranked = sorted(f1, key=lambda name: f1[name], reverse=True)
    named = [f"{name} ({shown(f1[name])})" for name in ranked]
    if of_model is None:
        return f"Of the {kind}, {named[0]} has the highest {LABELS['f1']}."
    num_higher = sum(value > of_model for value in f1.values())
    if not num_higher:
        return f"Of the {kind}, none has a higher {LABELS['f1']}; the best is {named[0]}."
    more = f" and {num_higher - NUM_NAMED} more" if num_higher > NUM_NAMED else ""
    first = ", ".join(named[: min(num_higher, NUM_NAMED)])
    have = "has" if num_higher == 1 else "have"
    return (
        f"Of the {kind}, {num_higher} of {len(f1)} {have} a higher {LABELS['f1']}: {first}{more}."
    )


def comparison_rows(comparison: MethodComparison) -> list[Row]:
    """A row a detector, those of the paper first; what was not run says why in `note`."""
    measured = {row["detector"]: row for row in figure_rows(comparison.detectors)}
    rows: list[Row] = []
    for method in comparison.contenders:
        figures = measured.pop(method.title, {"detector": method.title})
        rows.append(
            {
                **figures,
                "published_f1": method.published.f1 if method.published else None,
                "fit_seconds": method.cost.fit_seconds if method.cost else None,
                "score_seconds": method.cost.score_seconds if method.cost else None,
                "labels": method.labels,
                "note": method.not_run or "",
            }
        )
    nothing: Row = dict.fromkeys(("published_f1", "fit_seconds", "score_seconds"))
    rows += [{**row, **nothing, "labels": SIMPLE, "note": ""} for row in measured.values()]
    return rows
