"""The report of a run: `report.json` for programs, `report.html` for people.

The page is one file that needs no network. Log text is hostile: the template escapes everything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import numpy as np
from loguru import logger

from logllm_core import tables
from logllm_core.detection import DECISION
from logllm_core.errors import LogLLMError
from logllm_core.evaluation import charts
from logllm_core.evaluation.baselines import BASELINES
from logllm_core.evaluation.datacard import data_card
from logllm_core.evaluation.metrics import Figures, Scores, measure
from logllm_core.logs.catalog import Dataset
from logllm_core.logs.messages import message_files
from logllm_core.logs.splitting import Split
from logllm_core.logs.windows import read_windows
from logllm_core.provenance import describe_machine, recorded_versions
from logllm_core.store import Artifact, Json, Store
from logllm_core.training.recipes import Recipe

VERSION = 2
MODEL = "LogLLM"
DATASET_FACTS = ("title", "page", "licence", "citation")
PEAKS = ("peak_memory_bytes", "peak_gpu_memory_bytes")
NUM_SHOWN_WINDOWS = 8  # of each kind
NUM_SHOWN_CHARACTERS = 500  # of a line
NUM_SHOWN_LINES = 12  # of a window: those around its first alert, or its first


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The artifacts that a report is about."""

    raw: Artifact
    messages: Artifact
    windows: Artifact
    stages: Sequence[Artifact]
    predictions: Artifact


def build_report(
    store: Store, dataset: Dataset, *, recipe: Recipe, backbones: str, run: Run
) -> Artifact:
    """Evaluate the predictions on the test split beside the baselines, and write both reports."""
    return store.reuse_or_build(
        "runs",
        dataset.name,
        config={
            "recipe": recipe.model_dump(mode="json"),
            "backbones": backbones,
            "dataset": dataset.model_dump(mode="json", include=set(DATASET_FACTS)),
        },
        inputs={
            "raw": run.raw,
            "messages": run.messages,
            "windows": run.windows,
            "predictions": run.predictions,
        },
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, recipe, backbones, run),
    )


def _build(
    out_dir: Path, dataset: Dataset, recipe: Recipe, backbones: str, run: Run
) -> dict[str, Json]:
    scores = _scores(run, "test")
    train, test = read_windows(run.windows, "train"), read_windows(run.windows, "test")
    if test.is_anomalous is None:
        raise LogLLMError(
            f"{dataset.name} is not labelled, so there is nothing to measure against. Give "
            "[labels] in the data set's file."
        )
    all_scores = {MODEL: scores} | {
        name: baseline(train, test) for name, baseline in BASELINES.items()
    }
    figures = {name: measure(test.is_anomalous, found) for name, found in all_scores.items()}
    content = {
        "dataset": dataset.name,
        **{fact: getattr(dataset, fact) for fact in DATASET_FACTS},
        "recipe": recipe.name,
        "backbones": backbones,
        "verdict": verdict(figures),
        "validation": _validation_figures(run),
        "detectors": {name: asdict(found) for name, found in figures.items()},
        "data_card": data_card(run.raw, run.messages, run.windows, train, test),
        "stages": [_describe_stage(stage) for stage in run.stages],
        "scoring": run.predictions.results["test"]
        | {key: run.predictions.results[key] for key in PEAKS}
        | {"seconds": run.predictions.manifest["seconds"]},
        "settings": recipe.model_dump(mode="json"),
        "windows": _shown_windows(run, test.is_anomalous, scores),
        "versions": recorded_versions(),
        "machine": describe_machine(),
    }
    (out_dir / "report.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    pictures = {
        "curve": charts.precision_recall(test.is_anomalous, all_scores, MODEL),
        "timeline": charts.probability_over_time(test.is_anomalous, scores),
        "losses": charts.losses([(s.manifest["config"]["stage"]["name"], s) for s in run.stages]),
    }
    (out_dir / "report.html").write_text(render(content, pictures), encoding="utf-8")
    logger.info("{}: {}", dataset.name, content["verdict"])
    return {
        "verdict": content["verdict"],
        "figures": asdict(figures[MODEL]),
        "source": run.raw.results,
    }


def verdict(figures: Mapping[str, Figures]) -> str:
    """The report's first sentence: how the model stands beside the best simple detector."""
    return (
        f"{MODEL} reaches {_standing(figures, 'F1', 'f1')}, and "
        f"{_standing(figures, 'PR-AUC', 'pr_auc')}."
    )


def _standing(figures: Mapping[str, Figures], label: str, key: str) -> str:
    own: float | None = getattr(figures[MODEL], key)
    others = {
        name: value
        for name, found in figures.items()
        if name != MODEL and (value := getattr(found, key)) is not None
    }
    if own is None or not others:
        return f"{label} {_shown(own)}"
    best = max(others, key=lambda name: others[name])
    word = "ahead of" if own > others[best] else "behind" if own < others[best] else "level with"
    return f"{label} {own:.3f}, {word} {best} ({others[best]:.3f})"


def figure_rows(content: Mapping[str, Any]) -> list[dict[str, Json]]:
    """The detectors' figures as rows of a table."""
    columns = ("precision", "recall", "f1", "pr_auc")
    return [
        {"detector": name} | {column: found[column] for column in columns}
        for name, found in content["detectors"].items()
    ]


def as_markdown(content: Mapping[str, Any], page: Path) -> str:
    """The report in short, for places that show markdown."""
    lines = [
        f"# LogLLM on {content['dataset']}",
        "",
        content["verdict"],
        "",
        "| detector | precision | recall | F1 | PR-AUC |",
        "|---|---|---|---|---|",
    ]
    for row in figure_rows(content):
        name, *values = row.values()
        lines.append(f"| {name} | {' | '.join(map(_shown, values))} |")
    source = content["data_card"]["source"]
    found = source.get("sha256", f"seed {content['settings']['seed']}")
    lines += ["", f"Log: {source['origin']} ({found}).", "", f"The whole report: `{page}`"]
    return "\n".join(lines)


def render(content: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The HTML page; every text is escaped, the pictures are our own SVG."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _shown
    environment.filters["minutes"] = lambda seconds: f"{seconds / 60:.1f}"
    environment.filters["gigabytes"] = lambda size: f"{size / 1e9:.2f}" if size else "none"
    return environment.get_template("report.html.j2").render(
        **content, pictures=pictures, model_name=MODEL
    )


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _scores(run: Run, split: Split) -> Scores:
    table = tables.read(run.predictions.path / f"split={split}", tables.PREDICTIONS)
    scores: Scores = table["probability"].to_numpy()
    return scores


def _validation_figures(run: Run) -> dict[str, Json] | None:
    """The model's figures on the validation split; None where there is none."""
    found = read_windows(run.windows, "validation")
    if found.is_anomalous is None or not len(found):
        return None
    return asdict(measure(found.is_anomalous, _scores(run, "validation")))


def _describe_stage(stage: Artifact) -> dict[str, Json]:
    manifest = stage.manifest
    return {
        "name": manifest["config"]["stage"]["name"],
        "trains": manifest["config"]["stage"]["trains"],
        "learning_rate": manifest["config"]["stage"]["learning_rate"],
        "artifact": stage.fingerprint,
        **manifest["results"],
    }


def _shown_windows(run: Run, is_anomalous: Any, scores: Scores) -> list[dict[str, Json]]:
    """The clearest windows of each kind, with lines of the raw log."""
    alarms = scores > DECISION
    chosen = {
        "missed": (np.flatnonzero(is_anomalous & ~alarms), scores),
        "false alarm": (np.flatnonzero(~is_anomalous & alarms), -scores),
        "found": (np.flatnonzero(is_anomalous & alarms), -scores),
    }
    first = {
        kind: places[np.argsort(order[places], kind="stable")][:NUM_SHOWN_WINDOWS]
        for kind, (places, order) in chosen.items()
    }
    lines = _lines_of(run, [int(place) for places in first.values() for place in places])
    return [
        {"kind": kind, "probability": float(scores[place])} | lines[int(place)]
        for kind, places in first.items()
        for place in places
    ]


def _lines_of(run: Run, places: Sequence[int]) -> dict[int, dict[str, Json]]:
    """Id, session and lines of test windows, by their place in the split."""
    columns = ["window_id", "session_id", "line_numbers"]
    table = tables.read(run.windows.path / "split=test", tables.WINDOWS, columns)
    found = table.take(list(places)).to_pylist() if places else []
    wanted = sorted({number for window in found for number in window["line_numbers"]})
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select line_number, content, alert from read_parquet($paths)"
            " where line_number in (select unnest($wanted))",
            {"paths": message_files(run.messages), "wanted": wanted},
        ).fetchall()
    lines = {number: (content, alert) for number, content, alert in rows}
    described = {}
    for place, window in zip(places, found, strict=True):
        numbers = window["line_numbers"]
        first_alert = next((i for i, number in enumerate(numbers) if lines[number][1]), 0)
        start = min(max(first_alert - 2, 0), max(len(numbers) - NUM_SHOWN_LINES, 0))
        described[place] = {
            "window_id": window["window_id"],
            "session_id": window["session_id"],
            "num_lines": len(numbers),
            "lines": [
                {
                    "number": number,
                    "content": lines[number][0][:NUM_SHOWN_CHARACTERS],
                    "num_cut_characters": max(len(lines[number][0]) - NUM_SHOWN_CHARACTERS, 0),
                    "alert": lines[number][1],
                }
                for number in numbers[start : start + NUM_SHOWN_LINES]
            ],
        }
    return described
