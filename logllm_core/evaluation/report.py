"""The report of a run: `report.json` for programs, `report.html` for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loguru import logger

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.evaluation.data_card import data_card
from logllm_core.evaluation.detector_figures import (
    Judged,
    detector_figures,
    differences,
    over_seeds,
    verdict,
)
from logllm_core.evaluation.learned import Learned, judge_training
from logllm_core.evaluation.measures.alert_types import (
    read_alert_rates,
    read_alert_types,
    recall_by_alert,
)
from logllm_core.evaluation.measures.baselines import Evidence, fit_baselines
from logllm_core.evaluation.measures.calibration import calibrate
from logllm_core.evaluation.measures.line_ranking import localization, read_contributions
from logllm_core.evaluation.measures.metrics import Labels, Scores, judge, rank
from logllm_core.evaluation.measures.novelty import subsets
from logllm_core.evaluation.seed_choice import Kept
from logllm_core.evaluation.shown_windows import choose_cases
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.pages import MODEL, charts, report_page
from logllm_core.scoring.encoder_vectors import read_vectors
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training.recipes import Recipe

VERSION = 6
DATASET_FACTS = ("title", "page", "licence", "citation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The artifacts that a report is about."""

    raw: Artifact
    messages: Artifact
    windows: Artifact
    stages: Sequence[Artifact]
    predictions: Artifact
    vectors: Artifact | None  # the frozen encoder's; None where messages are too many
    others: Mapping[int, Artifact]  # predictions of the further seeds, by seed
    kept: Kept | None = None  # how the seed was chosen; None where it is the first


def build_report(
    store: Store, dataset: Dataset, *, recipe: Recipe, backbones: str, run: Run
) -> Artifact:
    """Evaluate the predictions on the test split beside the baselines, and write both reports.

    Args:
        recipe: of the seed that all but the spread over seeds is about: the first, or the one
            that was kept.
    """
    inputs = {
        "raw": run.raw,
        "messages": run.messages,
        "windows": run.windows,
        "predictions": run.predictions,
    }
    if run.vectors:
        inputs["vectors"] = run.vectors
    return store.reuse_or_build(
        "runs",
        dataset.name,
        config={
            "recipe": recipe.model_dump(mode="json"),
            "backbones": backbones,
            "keep": "best" if run.kept else "first",
            "dataset": dataset.model_dump(mode="json", include=set(DATASET_FACTS)),
        },
        inputs=inputs | {f"predictions of seed {seed}": p for seed, p in run.others.items()},
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, recipe, backbones, run),
    )


def _build(
    out_dir: Path, dataset: Dataset, recipe: Recipe, backbones: str, run: Run
) -> dict[str, Json]:
    content, test = _measured(dataset, recipe, backbones, run)
    (out_dir / "report.json").write_text(
        json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    columns = tables.read(
        run.windows.path / "split=test", tables.WINDOWS, ["window_id", "start_time"]
    )
    pictures = charts.draw(
        content,
        is_anomalous=test.is_anomalous,
        scores=test.scores,
        stages=[(stage.manifest["config"]["stage"]["name"], stage.path) for stage in run.stages],
        window_ids=columns["window_id"].to_pylist(),
        times=columns["start_time"].to_pylist(),
    )
    (out_dir / "report.html").write_text(report_page.render(content, pictures), encoding="utf-8")
    tell = logger.warning if content["learned"]["is_too_little"] else logger.info
    tell("{}: {}", dataset.name, content["verdict"])
    return {
        "verdict": content["verdict"],
        "figures": content["detectors"][MODEL],
        "source": run.raw.results,
    }


def _measured(
    dataset: Dataset, recipe: Recipe, backbones: str, run: Run
) -> tuple[dict[str, Json], Judged]:
    """All that `report.json` holds, and the test split's scores."""
    windows: dict[Split, Windows] = {
        split: read_windows(run.windows, split) for split in ("train", "validation", "test")
    }
    train, test_windows = windows["train"], windows["test"]
    rates = read_alert_rates(run.messages, run.windows)
    judged, not_applicable = _judge(dataset, run, windows, rates)
    test, validation = judged["test"], judged.get("validation")
    detectors = detector_figures(test, validation)
    to_best = differences(detectors, test)
    learned = _judge_training(recipe, run, train, validation)
    types = read_alert_types(run.messages, run.windows, test_windows.window_ids)
    contributions = read_contributions(run.predictions)
    own = test.scores[MODEL]
    cases = choose_cases(
        run.messages, run.windows, test_windows.message_ids, test.is_anomalous, own, contributions
    )
    others = {seed: _scores(predictions, "test") for seed, predictions in run.others.items()}
    return {
        "dataset": dataset.name,
        **{fact: getattr(dataset, fact) for fact in DATASET_FACTS},
        "recipe": recipe.name,
        "backbones": backbones,
        "verdict": verdict(detectors, to_best, learned.warning),
        "learned": asdict(learned),
        "detectors": detectors,
        "not_applicable": not_applicable,
        "differences": to_best,
        "seeds": over_seeds(test.is_anomalous, {recipe.seed: own} | others, run.kept),
        "validation": validation and _validation_figures(validation),
        "subsets": subsets(train, test_windows, test.is_anomalous, test.scores),
        "alerts": types and recall_by_alert(types, test.is_anomalous, test.scores),
        "lines": None
        if rates is None
        else localization(run.windows, run.predictions, contributions, rates),
        "calibration": asdict(calibrate(test.is_anomalous, own)),
        "data_card": data_card(dataset, run.raw, run.messages, run.windows, train, test_windows),
        "stages": [_describe_stage(stage) for stage in run.stages],
        "scoring": _describe_scoring(run.predictions),
        "settings": recipe.model_dump(mode="json"),
        "confusion": cases.confusion,
        "windows": cases.windows,
        # Where it was trained, which need not be where the report is written.
        "versions": run.stages[-1].manifest["versions"],
        "machine": run.stages[-1].manifest["machine"],
    }, test


def _judge(
    dataset: Dataset, run: Run, windows: Mapping[Split, Windows], rates: Scores | None
) -> tuple[dict[Split, Judged], dict[str, str]]:
    """The scored splits as each detector judges them, and why some detectors cannot.

    Without windows for it, there is no validation split.
    """
    labels = {split: _labels(dataset, found) for split, found in windows.items()}
    vectors_ME = read_vectors(run.vectors) if run.vectors else None
    baselines = fit_baselines(
        Evidence(train=windows["train"], alert_rates=rates, vectors_ME=vectors_ME)
    )
    scored: tuple[Split, ...] = ("validation", "test") if len(windows["validation"]) else ("test",)
    judged = {
        split: Judged(
            is_anomalous=labels[split],
            scores={
                MODEL: _scores(run.predictions, split),
                **{name: score(windows[split]) for name, score in baselines.scorers.items()},
            },
        )
        for split in scored
    }
    return judged, baselines.not_applicable


def _judge_training(recipe: Recipe, run: Run, train: Windows, validation: Judged | None) -> Learned:
    assert train.is_anomalous is not None, "unlabelled windows train no model"
    return judge_training(
        run.stages[-1].results["last_loss"],
        float(train.is_anomalous.mean()),
        recipe,
        validation,
        other_seeds=tuple(run.others),
        is_chosen=run.kept is not None,
    )


def _labels(dataset: Dataset, windows: Windows) -> Labels:
    if windows.is_anomalous is None:
        raise LogLLMError(
            f"{dataset.name} is not labelled, so there is nothing to measure against. Give "
            "[labels] in the data set's file."
        )
    return windows.is_anomalous


def _scores(predictions: Artifact, split: Split) -> Scores:
    table = tables.read(predictions.path / f"split={split}", tables.PREDICTIONS)
    scores: Scores = table["probability"].to_numpy()
    return scores


def _validation_figures(validation: Judged) -> dict[str, Json]:
    scores = validation.scores[MODEL]
    return {
        "num_windows": len(scores),
        "num_anomalous": int(validation.is_anomalous.sum()),
        "f1": judge(validation.is_anomalous, scores).f1,
        "pr_auc": rank(validation.is_anomalous, scores).pr_auc,
    }


def _describe_stage(stage: Artifact) -> dict[str, Json]:
    asked, found = stage.manifest["config"]["stage"], stage.results
    seconds = found["training_seconds"]
    return {
        **{key: asked[key] for key in ("name", "trains", "learning_rate")},
        "artifact": stage.fingerprint,
        **found,
        "windows_a_second": found["num_samples"] / seconds if seconds else None,
    }


def _describe_scoring(predictions: Artifact) -> dict[str, Json]:
    """Of the test split; seconds and memory are those of both scored splits together."""
    results = predictions.results
    counts, costs = results["test"], {k: v for k, v in results.items() if not isinstance(v, dict)}
    num_scored = sum(results[split]["num_windows"] for split in ("validation", "test"))
    seconds = costs["scoring_seconds"]
    return {
        **counts,
        **costs,
        "rounding": results["rounding"],
        "windows_a_second": num_scored / seconds if seconds else None,
    }
