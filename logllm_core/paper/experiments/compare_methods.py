"""All methods on one footing: `comparison.json` for programs, `comparison.html` for people.

Every detector is measured as LogLLM is in its report: at its own limit (a score above .5), at the
threshold that the validation split chose, and over all thresholds, with intervals from resamples
that all detectors share.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from logllm_core import tables
from logllm_core.evaluation.data_card import data_card
from logllm_core.evaluation.detector_figures import Judged, detector_figures, over_seeds
from logllm_core.evaluation.measures import intervals
from logllm_core.evaluation.measures.alert_types import read_alert_rates
from logllm_core.evaluation.measures.baselines import Evidence, fit_baselines
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.evaluation.report import DATASET_FACTS
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.pages import MODEL
from logllm_core.pages.html import render_page
from logllm_core.paper.experiments import paper_tables
from logllm_core.paper.experiments.contenders import Contender
from logllm_core.paper.experiments.standing import verdict
from logllm_core.scoring.encoder_vectors import read_vectors
from logllm_core.store.manifest import describe_machine, recorded_versions
from logllm_core.store.store import Artifact, Json, Store

VERSION = 1
TEMPLATES = Path(__file__).parent / "templates"
FILE_NAME, PAGE_NAME = "comparison.json", "comparison.html"
PAIRED: tuple[intervals.Figure, ...] = ("f1", "pr_auc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """What all contenders were given."""

    raw: Artifact
    messages: Artifact
    windows: Artifact
    vectors: Artifact | None  # the frozen encoder's; None where messages are too many


def build_comparison(
    store: Store,
    dataset: Dataset,
    *,
    backbones: str,
    contenders: Sequence[Contender],
    material: Material,
) -> Artifact:
    """Measure all contenders on the test split beside the simple detectors, and write both files.

    Args:
        backbones: as a person names them.
        contenders: in the order of the page, LogLLM among them.
    """
    inputs = {
        "raw": material.raw,
        "messages": material.messages,
        "windows": material.windows,
    }
    if material.vectors:
        inputs["vectors"] = material.vectors
    for contender in contenders:
        for seed, scores in contender.scores.items():
            inputs[f"{contender.name} of seed {seed}"] = scores
    return store.reuse_or_build(
        "experiments",
        dataset.name,
        config={
            "experiment": "compare",
            "backbones": backbones,
            "contenders": [
                {
                    "name": found.name,
                    "settings": found.settings,
                    "changes": found.changes,
                    "seeds": list(found.scores),
                    "not_run": found.not_run,
                }
                for found in contenders
            ],
            "dataset": dataset.model_dump(mode="json", include=set(DATASET_FACTS)),
        },
        inputs=inputs,
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, backbones, contenders, material),
    )


def read_comparison(comparison: Artifact) -> dict[str, Any]:
    """What its `comparison.json` holds."""
    content: dict[str, Any] = json.loads((comparison.path / FILE_NAME).read_text(encoding="utf-8"))
    return content


def _build(
    out_dir: Path,
    dataset: Dataset,
    backbones: str,
    contenders: Sequence[Contender],
    material: Material,
) -> dict[str, Json]:
    content = _measured(dataset, contenders, material) | {"backbones": backbones}
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    (out_dir / FILE_NAME).write_text(text, encoding="utf-8")
    (out_dir / PAGE_NAME).write_text(render(content), encoding="utf-8")
    logger.info("{}: {}", dataset.name, content["verdict"])
    return {"verdict": content["verdict"]}


def render(content: Mapping[str, Any]) -> str:
    """The page of what `comparison.json` holds."""
    own = next(found for found in content["contenders"] if found["title"] == MODEL)
    return render_page(
        "comparison.html.j2", {**content, "model_name": MODEL, "own": own}, {}, folder=TEMPLATES
    )


def _measured(
    dataset: Dataset, contenders: Sequence[Contender], material: Material
) -> dict[str, Json]:
    windows: dict[Split, Windows] = {
        split: read_windows(material.windows, split) for split in ("train", "validation", "test")
    }
    judged, not_applicable = _judge(contenders, material, windows)
    test, validation = judged["test"], judged.get("validation")
    detectors = detector_figures(test, validation)
    has_run = [found for found in contenders if found.scores]
    told = paper_tables.WINDOWS.get(dataset.name)
    return {
        "dataset": dataset.name,
        **{fact: getattr(dataset, fact) for fact in DATASET_FACTS},
        "verdict": verdict(detectors, [found.title for found in has_run]),
        "seeds": list(has_run[0].scores) if has_run else [],
        "contenders": [_described(dataset.name, found, test.is_anomalous) for found in contenders],
        "detectors": detectors,
        "not_applicable": not_applicable,
        "differences": _differences(test),
        "validation": validation
        and {
            "num_windows": len(validation.is_anomalous),
            "num_anomalous": int(validation.is_anomalous.sum()),
        },
        "published_windows": told and asdict(told),
        "data_card": data_card(
            dataset,
            material.raw,
            material.messages,
            material.windows,
            windows["train"],
            windows["test"],
        ),
        "versions": recorded_versions(),
        "machine": describe_machine(),
    }


def _judge(
    contenders: Sequence[Contender], material: Material, windows: Mapping[Split, Windows]
) -> tuple[dict[Split, Judged], dict[str, str]]:
    """The scored splits as each detector judges them, and why some simple ones cannot."""
    baselines = fit_baselines(
        Evidence(
            train=windows["train"],
            alert_rates=read_alert_rates(material.messages, material.windows),
            vectors_ME=read_vectors(material.vectors) if material.vectors else None,
        )
    )
    splits: tuple[Split, ...] = ("validation", "test") if len(windows["validation"]) else ("test",)
    judged: dict[Split, Judged] = {}
    for split in splits:
        own = windows[split]
        assert own.is_anomalous is not None, "without labels nothing is compared"
        scores = {
            found.title: read_scores(next(iter(found.scores.values())), split)
            for found in contenders
            if found.scores
        }
        scores |= {name: score(own) for name, score in baselines.scorers.items()}
        assert all(len(one) == len(own) for one in scores.values())
        judged[split] = Judged(is_anomalous=own.is_anomalous, scores=scores)
    return judged, baselines.not_applicable


def read_scores(artifact: Artifact, split: Split) -> Scores:
    """One contender's scores of a split's windows, in log order."""
    schema, column = {
        "predictions": (tables.PREDICTIONS, "probability"),
        "detectors": (tables.SCORES, "score"),
    }[artifact.kind]
    table = tables.read(artifact.path / f"split={split}", schema, [column])
    scores: Scores = table[column].to_numpy()
    return scores


def _differences(test: Judged) -> dict[str, dict[str, Json]]:
    """LogLLM minus each other detector, on the same resampled windows; none without LogLLM."""
    if MODEL not in test.scores:
        return {}
    others = [name for name in test.scores if name != MODEL]
    found: dict[str, dict[str, Json]] = {name: {} for name in others}
    for figure in PAIRED:
        all_scores = [test.scores[name] for name in others]
        both = intervals.differences(test.is_anomalous, test.scores[MODEL], all_scores, figure)
        for name, difference in zip(others, both, strict=True):
            found[name][figure] = difference and {
                "difference": difference[0],
                "interval": difference[1],
            }
    return found


def _described(dataset: str, contender: Contender, is_anomalous: Labels) -> dict[str, Json]:
    """A contender in `comparison.json`, all but its figures."""
    told = paper_tables.DETECTION.get(dataset, {}).get(contender.title)
    minutes = paper_tables.MINUTES.get(contender.title)
    scores = {seed: read_scores(found, "test") for seed, found in contender.scores.items()}
    return {
        **{key: getattr(contender, key) for key in ("name", "title", "paper", "reads", "labels")},
        "differs": list(contender.differs),
        "rule": contender.rule,
        "settings": dict(contender.settings),
        "changes": dict(contender.changes),
        "not_run": contender.not_run,
        "published": told and {**asdict(told), "is_possible": told.is_possible},
        "published_minutes": minutes and asdict(minutes),
        "cost": _cost(contender) if contender.scores else None,
        "seeds": over_seeds(is_anomalous, scores),
    }


def _cost(contender: Contender) -> dict[str, Json]:
    """Of the first seed; the scored windows are those of both splits."""
    artifact = next(iter(contender.scores.values()))
    found = artifact.results
    if artifact.kind == "detectors":
        names = ("fit_seconds", "score_seconds", "num_steps", "num_parameters")
        return {
            name: found[name] for name in (*names, "peak_memory_bytes", "peak_gpu_memory_bytes")
        }
    stages = [stage.results for stage in contender.stages]
    peaks = [*stages, found]
    return {
        "fit_seconds": sum(stage["training_seconds"] for stage in stages),
        "score_seconds": found["scoring_seconds"],
        "num_steps": sum(stage["num_steps"] for stage in stages),
        "num_parameters": max(stage["num_trained_parameters"] for stage in stages),
        **{
            peak: max(step[peak] for step in peaks)
            for peak in ("peak_memory_bytes", "peak_gpu_memory_bytes")
        },
    }
