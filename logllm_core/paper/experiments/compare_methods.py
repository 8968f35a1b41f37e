"""All methods on one footing: `comparison.json` for programs, `comparison.html` for people.

Every detector is measured as LogLLM is in its report: at its own limit (a score above .5), at the
threshold that the validation split chose, and over all thresholds, with intervals from resamples
that all detectors share.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from loguru import logger

from logllm_core.evaluation.data_card import data_card
from logllm_core.evaluation.detector_figures import detector_figures, over_seeds
from logllm_core.evaluation.judged_splits import Judged, judge_splits, read_splits
from logllm_core.evaluation.measures import intervals
from logllm_core.evaluation.measures.alert_types import read_alert_rates
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.evaluation.measures.scored_windows import read_scores
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.pages.html import render_page
from logllm_core.paper.experiments import paper_tables
from logllm_core.paper.experiments.comparison import (
    FILE_NAME,
    PAGE_NAME,
    ComparedMethod,
    MethodComparison,
    MethodCost,
    PairedDifferences,
    PublishedFigures,
    SplitSize,
    verdict,
)
from logllm_core.paper.experiments.contenders import Contender
from logllm_core.pipeline import Prepared
from logllm_core.results import MODEL, json_files
from logllm_core.results.data_card import DataCard
from logllm_core.results.figures import Difference, PairedFigure
from logllm_core.results.report import DATASET_FACTS
from logllm_core.store.manifest import describe_machine, recorded_versions
from logllm_core.store.store import Artifact, Json, Store

VERSION = 1
TEMPLATES = Path(__file__).parent / "templates"


def build_comparison(
    store: Store,
    dataset: Dataset,
    *,
    backbones: str,
    contenders: Sequence[Contender],
    prepared: Prepared,
    vectors: Artifact | None,
) -> Artifact:
    """Measure all contenders on the test split beside the simple detectors, and write both files.

    Args:
        backbones: as a person names them.
        contenders: in the order of the page, LogLLM among them.
        prepared: what all of them were given.
        vectors: the frozen encoder's; None where messages are too many.
    """
    given = {"raw": prepared.raw, "messages": prepared.messages, "windows": prepared.windows}
    scores = {
        f"{contender.name} of seed {seed}": of_seed
        for contender in contenders
        for seed, of_seed in contender.scores.items()
    }
    return store.reuse_or_build(
        "experiments",
        dataset.name,
        config={
            "experiment": "compare",
            "backbones": backbones,
            "contenders": [contender.config for contender in contenders],
            "dataset": dataset.model_dump(mode="json", include=DATASET_FACTS),
        },
        inputs=given | ({"vectors": vectors} if vectors else {}) | scores,
        version=VERSION,
        build=lambda out_dir: _write(
            out_dir, _measured(dataset, backbones, contenders, prepared, vectors)
        ),
    )


def _write(out_dir: Path, comparison: MethodComparison) -> dict[str, Json]:
    json_files.write(out_dir / FILE_NAME, comparison)
    (out_dir / PAGE_NAME).write_text(render(comparison), encoding="utf-8")
    logger.info("{}: {}", comparison.dataset, comparison.verdict)
    return {"verdict": comparison.verdict}


def render(comparison: MethodComparison) -> str:
    """The page of a comparison."""
    of_model = next(method for method in comparison.contenders if method.title == MODEL)
    more = {"model_name": MODEL, "of_model": of_model}
    return render_page("comparison.html.j2", comparison, {}, more, folder=TEMPLATES)


def _measured(
    dataset: Dataset,
    backbones: str,
    contenders: Sequence[Contender],
    prepared: Prepared,
    vectors: Artifact | None,
) -> MethodComparison:
    windows = read_splits(prepared.windows)
    ran = [contender for contender in contenders if contender.scores]
    splits = judge_splits(
        windows,
        lambda split: {contender.title: _first_scores(contender, split) for contender in ran},
        alert_rates=read_alert_rates(prepared.messages, prepared.windows),
        vectors=vectors,
    )
    detectors = detector_figures(splits.test, splits.validation)
    labels = splits.test.is_anomalous
    return MethodComparison(
        dataset=dataset.name,
        title=dataset.title,
        dataset_page=dataset.page,
        licence=dataset.licence,
        citation=dataset.citation,
        verdict=verdict(detectors, [contender.title for contender in ran]),
        seeds=tuple(ran[0].scores) if ran else (),
        contenders=tuple(_described(dataset.name, contender, labels) for contender in contenders),
        detectors=detectors,
        not_applicable=splits.not_applicable,
        differences=_differences(splits.test),
        validation=_size(splits.validation) if splits.validation else None,
        published_windows=paper_tables.WINDOWS.get(dataset.name),
        data_card=_data_card(dataset, prepared, windows),
        versions=recorded_versions(),
        machine=describe_machine(),
        backbones=backbones,
    )


def _data_card(dataset: Dataset, prepared: Prepared, windows: Mapping[Split, Windows]) -> DataCard:
    return data_card(
        dataset,
        raw=prepared.raw,
        messages=prepared.messages,
        windows=prepared.windows,
        train=windows["train"],
        test=windows["test"],
    )


def _first_scores(contender: Contender, split: Split) -> Scores:
    return read_scores(next(iter(contender.scores.values())), split)


def _size(split: Judged) -> SplitSize:
    labels = split.is_anomalous
    return SplitSize(num_windows=len(labels), num_anomalous=int(labels.sum()))


def _differences(test: Judged) -> dict[str, PairedDifferences]:
    """LogLLM minus each other detector, on the same resampled windows; none without LogLLM."""
    if MODEL not in test.scores:
        return {}
    others = {name: scores for name, scores in test.scores.items() if name != MODEL}

    def compared(figure: PairedFigure) -> list[Difference | None]:
        of_model, of_others = test.scores[MODEL], list(others.values())
        return intervals.differences(test.is_anomalous, of_model, of_others, figure)

    paired = zip(others, compared("f1"), compared("pr_auc"), strict=True)
    return {name: PairedDifferences(f1=f1, pr_auc=pr_auc) for name, f1, pr_auc in paired}


def _described(dataset: str, contender: Contender, is_anomalous: Labels) -> ComparedMethod:
    """A contender as the file has it, all but its figures."""
    printed = paper_tables.DETECTION.get(dataset, {}).get(contender.title)
    scores = {seed: read_scores(of_seed, "test") for seed, of_seed in contender.scores.items()}
    return ComparedMethod(
        name=contender.name,
        title=contender.title,
        paper=contender.paper,
        reads=contender.reads,
        labels=contender.labels,
        differs=tuple(contender.differs),
        rule=contender.rule,
        settings=contender.settings,
        changes=contender.changes,
        not_run=contender.not_run,
        published=PublishedFigures(
            precision=printed.precision,
            recall=printed.recall,
            f1=printed.f1,
            is_possible=printed.is_possible,
        )
        if printed
        else None,
        published_minutes=paper_tables.MINUTES.get(contender.title),
        cost=_cost(contender) if contender.scores else None,
        seeds=over_seeds(is_anomalous, scores),
    )


def _cost(contender: Contender) -> MethodCost:
    scores = next(iter(contender.scores.values()))
    results = scores.results
    if scores.kind == "detectors":
        return MethodCost(**{name: results[name] for name in MethodCost.__dataclass_fields__})
    stages = [stage.results for stage in contender.stages]
    steps = [*stages, results]
    return MethodCost(
        fit_seconds=sum(stage["training_seconds"] for stage in stages),
        score_seconds=results["scoring_seconds"],
        num_steps=sum(stage["num_steps"] for stage in stages),
        num_parameters=max(stage["num_trained_parameters"] for stage in stages),
        peak_memory_bytes=max(step["peak_memory_bytes"] for step in steps),
        peak_gpu_memory_bytes=max(step["peak_gpu_memory_bytes"] for step in steps),
    )
