"""A small run and a detection, held to what they gave before.

What moves or merges code must change nothing here. What changes a result on purpose raises a
version, and `python -m tests.test_golden` writes the file anew.

Numbers and text are held to the byte. Weights and probabilities differ in their last bits from
processor to processor: of these it is what they are found by that counts, and a few digits.
"""

import json
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from logllm_core.daily.detect.detect import detect
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.sources.raw_log import obtain_log
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.paper.experiments.ablation_table import Setup
from logllm_core.paper.experiments.run_variant import Job, run_variant
from logllm_core.pipeline import Prepared
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import Recipe, recipe_named
from logllm_core.training.stage_plan import Execution
from tests import tiny
from tests.daily.new_logs import crown, dataset_of, lines
from tests.logs.samples import messages_of
from tests.scoring.setting import prepare

GOLDEN = Path(__file__).with_name("golden.json")
EXACT = {"raw", "parts", "messages", "windows"}  # kinds whose files hold no rounded number
DATASET = {
    "name": "small-log",
    "title": "A small simulated log",
    "train_fraction": 0.6,
    "source": {"kind": "simulator", "num_lines": 2_000, "seed": 3},
    "line": {
        "fields": [
            *("label", "epoch", "date", "node", "full_time", "node_repeated", "type"),
            *("component", "level", "content"),
        ],
        "time_fields": ["epoch"],
        "time_format": "epoch",
    },
    "labels": {"kind": "field"},
    "windows": {"kind": "count", "length": 20},
}
SIZES = {"batch_size": 8, "micro_batch_size": 8, "max_message_tokens": 16, "precision": "float32"}
STEPS = {"stages.1.num_samples": 16, "stages.3.num_samples": 16}


def evenly(network: nn.Module) -> None:
    """Weights that no generator has to round: multiples of 1/256."""
    dice = np.random.default_rng(0)
    with torch.no_grad():
        for weights in network.state_dict().values():
            if weights.is_floating_point() and weights.ndim > 1:
                weights.copy_(torch.from_numpy(dice.integers(-99, 99, tuple(weights.shape)) / 256))


def save_even(folder: Path) -> None:
    """Both backbones, the same bytes everywhere."""
    named = tiny.save(folder)
    for path, network in zip(named.split(","), (tiny.encoder(), tiny.decoder()), strict=True):
        evenly(network)
        network.save_pretrained(path)


def a_run(folder: Path) -> dict[str, Any]:
    """What each artifact of a run is found by, and what is in it."""
    store = Store(data_dir=folder / "data")
    save_even(folder / "tiny")
    dataset = Dataset.parse(DATASET, origin="the golden test")
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.25)
    job = Job(
        name="golden",
        setup=Setup(dataset=dataset, recipe=_recipe(), backbones="tiny/encoder,tiny/decoder"),
        prepared=Prepared(
            raw=obtain_log(store, dataset, mirror=None), messages=messages, windows=windows
        ),
        execution=Execution(),
    )
    with chdir(folder):  # a model is found by the names that its backbones were given, too
        run_variant(store, job)
    return {kind: [_told(one) for one in store.all(kind, "small-log")] for kind in _kinds(store)}


def _recipe() -> Recipe:
    return recipe_named("quick").overridden({**SIZES, **STEPS})


def _kinds(store: Store) -> list[Any]:
    """All but the backbones', whose artifact is named after this folder."""
    return sorted(path.parent.name for path in store.data_dir.glob("*/small-log"))


def _told(artifact: Artifact) -> dict[str, Any]:
    files = {file["name"]: file["sha256"] for file in artifact.manifest["files"]}
    return {
        "fingerprint": artifact.fingerprint,
        "config": artifact.manifest["config"],
        "files": files if artifact.kind in EXACT else sorted(files),
    }


def a_detection(folder: Path) -> list[dict[str, Any]]:
    """Verdicts about a log that grew once; probabilities apart."""
    setting = prepare(folder)
    crown(setting)
    log, text = folder / "new.log", lines(43)
    rows: list[dict[str, Any]] = []
    for num_lines in (18, 43):
        log.write_text("".join(text[:num_lines]))
        detect(
            setting.store,
            dataset_of(folder),
            [str(log)],
            tell=lambda table: rows.extend(table.to_pylist()),
            is_new_only=True,
        )
    return [
        {name: str(row[name]) for name in ("window_id", "first_line", "last_line", "num_lines")}
        | {name: str(row[name]) for name in ("start_time", "end_time", "num_unseen_lines")}
        | {"num_cut_lines": str(row["num_cut_lines"]), "probability": row["probability"]}
        for row in rows
    ]


def everything(folder: Path) -> dict[str, Any]:
    (folder / "run").mkdir()
    (folder / "detection").mkdir()
    return {"run": a_run(folder / "run"), "detection": a_detection(folder / "detection")}


def test_a_run_and_a_detection_are_what_they_were(tmp_path: Path) -> None:
    golden, made = json.loads(GOLDEN.read_text()), everything(tmp_path)
    assert made["run"].keys() == golden["run"].keys()
    for kind, artifacts in golden["run"].items():
        assert made["run"][kind] == artifacts, kind
    for row, before in zip(made["detection"], golden["detection"], strict=True):
        assert row.pop("probability") == pytest.approx(before.pop("probability"), abs=1e-4)
        assert row == before


if __name__ == "__main__":
    with TemporaryDirectory() as made_in:
        GOLDEN.write_text(json.dumps(everything(Path(made_in)), indent=1, sort_keys=True) + "\n")
