"""A store with runs on sixteen test windows, whose reports are made up."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from logllm_core import tables
from logllm_core.store.store import Artifact, Store
from tests.pages.sample_parts import detector, verdicts
from tests.pages.sample_report import small_content

LABELS = [True, False] * 8
LINES = [[2 * number, 2 * number + 1] for number in range(16)]


def make_windows(store: Store, masking: str, lines: Sequence[Sequence[int]] = LINES) -> Artifact:
    def build(out_dir: Path) -> dict[str, Any]:
        columns = {name: pa.nulls(len(lines)) for name in tables.WINDOWS.names} | {
            "window_id": range(len(lines)),
            "line_numbers": lines,
            "message_ids": [[0] * len(own) for own in lines],
            "is_anomalous": LABELS[: len(lines)],
        }
        path = out_dir / "split=test" / "part-0.parquet"
        tables.write(path, pa.table(columns), tables.WINDOWS)
        return {}

    config = {"masking": masking, "lines": lines}
    return store.reuse_or_build("windows", "x", config=config, inputs={}, version=1, build=build)


def make_predictions(store: Store, seed: int, probabilities: Sequence[float]) -> Artifact:
    def build(out_dir: Path) -> dict[str, Any]:
        columns = {
            "window_id": range(len(probabilities)),
            "probability": probabilities,
            "verdict": ["normal"] * len(probabilities),
            "is_anomalous": LABELS[: len(probabilities)],
        }
        path = out_dir / "split=test" / "part-0.parquet"
        tables.write(path, pa.table(columns), tables.PREDICTIONS)
        return {}

    return store.reuse_or_build(
        "predictions", "x", config={"seed": seed}, inputs={}, version=1, build=build
    )


def make_content(seed: int, *, f1_counts: tuple[int, int, int, int] = (2, 1, 2, 5)) -> Any:
    content = small_content()
    content["scoring"] |= {"scoring_seconds": 60.0, "localization_seconds": 2.5}
    content["settings"] |= {"seed": seed, "overrides": {"seed": seed} if seed else {}}
    old = content["detectors"]["LogLLM"]
    content["detectors"]["LogLLM"] = detector(
        verdicts(*f1_counts), old["at_validation_threshold"], 0.75
    )
    return content


def make_run(
    store: Store,
    content: dict[str, Any],
    windows: Artifact,
    predictions: Artifact,
    others: Sequence[int] = (),
    dataset: str = "x",
) -> Artifact:
    def build(out_dir: Path) -> dict[str, Any]:
        (out_dir / "report.json").write_text(json.dumps(content))
        (out_dir / "report.html").write_text("a page")
        return {"verdict": content["verdict"], "figures": content["detectors"]["LogLLM"]}

    return store.reuse_or_build(
        "runs",
        dataset,
        config={"recipe": content["settings"], "backbones": content["backbones"]},
        inputs={
            "windows": windows,
            "predictions": predictions,
            **{f"predictions of seed {seed}": predictions for seed in others},
        },
        version=1,
        build=build,
    )


def run_of_seed_0(store: Store) -> Artifact:
    """Calls every label right."""
    right = make_predictions(store, 0, [float(label) for label in LABELS])
    return make_run(store, make_content(0), make_windows(store, "regex"), right)


def run_of_seed_1(store: Store) -> Artifact:
    """With other settings, too; calls every window anomalous."""
    content = make_content(1, f1_counts=(3, 1, 1, 5))
    content["settings"]["stages"][0]["num_epochs"] = 2
    content["settings"]["patience"] = 3
    content["versions"]["torch"] = "2.14.0"
    content["stages"][0]["training_seconds"] += 60
    predictions = make_predictions(store, 1, [1.0] * 16)
    return make_run(store, content, make_windows(store, "regex"), predictions)
