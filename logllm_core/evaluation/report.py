"""The report of a run: `report.json` for programs, `report.html` for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from logllm_core import tables
from logllm_core.evaluation.cost import scoring_figures, stage_figures
from logllm_core.evaluation.data_card import data_card
from logllm_core.evaluation.detector_figures import (
    detector_figures,
    over_seeds,
    to_strongest,
    verdict,
)
from logllm_core.evaluation.judged_splits import Judged, JudgedSplits, judge_splits, read_splits
from logllm_core.evaluation.measures.alert_types import (
    read_alert_rates,
    read_alert_types,
    recall_by_alert,
)
from logllm_core.evaluation.measures.calibration import calibrate
from logllm_core.evaluation.measures.line_ranking import localization, read_contributions
from logllm_core.evaluation.measures.metrics import Scores, judge, rank
from logllm_core.evaluation.measures.novelty import subsets
from logllm_core.evaluation.measures.scored_windows import read_scores
from logllm_core.evaluation.shown_windows import Chosen, choose_windows
from logllm_core.evaluation.training_check import judge_training
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.pages import charts, report_page
from logllm_core.results import MODEL, json_files
from logllm_core.results.data_card import DataCard
from logllm_core.results.figures import KeptSeed
from logllm_core.results.report import (
    DATASET_FACTS,
    PAGE_NAME,
    Alerts,
    LineRankings,
    Report,
    ValidationFigures,
)
from logllm_core.results.training import Learned
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training.recipes import Recipe

VERSION = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedRun:
    """The artifacts that a report is about."""

    raw: Artifact
    messages: Artifact
    windows: Artifact
    stages: Sequence[Artifact]
    predictions: Artifact
    vectors: Artifact | None  # the frozen encoder's; None where messages are too many
    others: Mapping[int, Artifact]  # predictions of the further seeds, by seed
    kept: KeptSeed | None = None  # how the seed was chosen; None where it is the first


def build_report(
    store: Store, dataset: Dataset, *, recipe: Recipe, backbones: str, run: ReportedRun
) -> Artifact:
    """Evaluate the predictions on the test split beside the baselines, and write both reports.

    Args:
        recipe: of the seed that all but the spread over seeds is about: the first, or the one
            that was kept.
    """
    given = {"raw": run.raw, "messages": run.messages, "windows": run.windows}
    scored = {"predictions": run.predictions} | ({"vectors": run.vectors} if run.vectors else {})
    others = {f"predictions of seed {seed}": scores for seed, scores in run.others.items()}
    return store.reuse_or_build(
        "runs",
        dataset.name,
        config={
            "recipe": recipe.model_dump(mode="json"),
            "backbones": backbones,
            "keep": "best" if run.kept else "first",
            "dataset": dataset.model_dump(mode="json", include=DATASET_FACTS),
        },
        inputs=given | scored | others,
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, recipe, backbones, run),
    )


def _build(
    out_dir: Path, dataset: Dataset, recipe: Recipe, backbones: str, run: ReportedRun
) -> dict[str, Json]:
    report, test = _measured(dataset, recipe, backbones, run)
    json_files.write(out_dir / json_files.REPORT_NAME, report)
    columns = tables.read(
        run.windows.path / "split=test", tables.WINDOWS, ["window_id", "start_time"]
    )
    pictures = charts.draw(
        report,
        is_anomalous=test.is_anomalous,
        scores=test.scores[MODEL],
        stages=[(stage.manifest["config"]["stage"]["name"], stage.path) for stage in run.stages],
        window_ids=columns["window_id"].to_pylist(),
        times=columns["start_time"].to_pylist(),
    )
    (out_dir / PAGE_NAME).write_text(report_page.render(report, pictures), encoding="utf-8")
    is_doubtful = report.learned and report.learned.is_too_little
    tell = logger.warning if is_doubtful else logger.info
    tell("{}: {}", dataset.name, report.verdict)
    return {
        "verdict": report.verdict,
        "figures": json_files.as_json(report.model),
        "source": run.raw.results,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Material:
    """What all that is measured is measured on."""

    train: Windows
    test: Windows
    splits: JudgedSplits
    alert_rates: Scores | None  # by message id; None where lines have no labels

    @classmethod
    def of(cls, run: ReportedRun) -> "_Material":
        windows = read_splits(run.windows)
        rates = read_alert_rates(run.messages, run.windows)
        return cls(
            train=windows["train"],
            test=windows["test"],
            splits=judge_splits(
                windows,
                lambda split: {MODEL: read_scores(run.predictions, split)},
                alert_rates=rates,
                vectors=run.vectors,
            ),
            alert_rates=rates,
        )


def _measured(
    dataset: Dataset, recipe: Recipe, backbones: str, run: ReportedRun
) -> tuple[Report, Judged]:
    """All that the report holds, and the test split's scores."""
    material = _Material.of(run)
    test, validation = material.splits.test, material.splits.validation
    labels, scores = test.is_anomalous, test.scores[MODEL]
    detectors = detector_figures(test, validation)
    differences = to_strongest(detectors, test)
    learned = _judge_training(recipe, run, material)
    chosen, lines = _in_lines(run, material)
    return Report(
        dataset=dataset.name,
        title=dataset.title,
        dataset_page=dataset.page,
        licence=dataset.licence,
        citation=dataset.citation,
        recipe=recipe.name,
        backbones=backbones,
        verdict=verdict(detectors, differences, learned.warning),
        learned=learned,
        detectors=detectors,
        not_applicable=material.splits.not_applicable,
        differences=differences,
        seeds=over_seeds(labels, {recipe.seed: scores} | _other_scores(run), run.kept),
        validation=_validation_figures(validation) if validation else None,
        subsets=subsets(material.train, material.test, labels, test.scores),
        alerts=_alerts(run, material),
        lines=lines,
        calibration=calibrate(labels, scores),
        data_card=_data_card(dataset, run, material),
        stages=tuple(map(stage_figures, run.stages)),
        scoring=scoring_figures(run.predictions),
        settings=recipe.model_dump(mode="json"),
        confusion=chosen.confusion,
        windows=chosen.windows,
        # Where it was trained, which need not be where the report is written.
        versions=run.stages[-1].manifest["versions"],
        machine=run.stages[-1].manifest["machine"],
    ), test


def _other_scores(run: ReportedRun) -> dict[int, Scores]:
    return {seed: read_scores(predictions, "test") for seed, predictions in run.others.items()}


def _in_lines(run: ReportedRun, material: _Material) -> tuple[Chosen, LineRankings | None]:
    """The windows to show, and whether the lines that carried alarms are those with labels."""
    contributions = read_contributions(run.predictions)
    chosen = choose_windows(
        run.messages,
        run.windows,
        message_ids=material.test.message_ids,
        is_anomalous=material.splits.test.is_anomalous,
        scores=material.splits.test.scores[MODEL],
        contributions=contributions,
    )
    if material.alert_rates is None:
        return chosen, None
    rates = material.alert_rates
    return chosen, localization(run.windows, run.predictions, contributions, rates)


def _alerts(run: ReportedRun, material: _Material) -> Alerts | None:
    types = read_alert_types(run.messages, run.windows, material.test.window_ids)
    test = material.splits.test
    return recall_by_alert(types, test.is_anomalous, test.scores) if types else None


def _data_card(dataset: Dataset, run: ReportedRun, material: _Material) -> DataCard:
    return data_card(
        dataset,
        raw=run.raw,
        messages=run.messages,
        windows=run.windows,
        train=material.train,
        test=material.test,
    )


def _judge_training(recipe: Recipe, run: ReportedRun, material: _Material) -> Learned:
    labels = material.train.is_anomalous
    assert labels is not None, "unlabelled windows train no model"
    return judge_training(
        run.stages[-1].results["last_loss"],
        float(labels.mean()),
        recipe,
        material.splits.validation,
        other_seeds=tuple(run.others),
        is_chosen=run.kept is not None,
    )


def _validation_figures(validation: Judged) -> ValidationFigures:
    labels, scores = validation.is_anomalous, validation.scores[MODEL]
    return ValidationFigures(
        num_windows=len(scores),
        num_anomalous=int(labels.sum()),
        f1=judge(labels, scores).f1,
        pr_auc=rank(labels, scores).pr_auc,
    )
