"""Models and runs as artifacts, without anything trained."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from logllm_core import tables
from logllm_core.logs.windows.splits import SPLITS
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import recipe_named

NAME = "own"
RECIPE = recipe_named("quick")


def artifact(store: Store, kind: Any, number: int, **inputs: Artifact) -> Artifact:
    """An artifact with a file, another one for each number."""

    def build(out_dir: Path) -> dict[str, object]:
        (out_dir / "weights").write_text(str(number))
        return {}

    file = {"checksum": str(number), "member": None}
    config = {"kind": kind, "number": number, "file": file, "files": [[*file.values()]]}
    return store.reuse_or_build(kind, NAME, config=config, inputs=inputs, version=1, build=build)


def windows(store: Store, number: int, messages: Artifact) -> Artifact:
    """A session a split, named after it and the number."""

    def build(out_dir: Path) -> dict[str, object]:
        for split in SPLITS:
            row = dict.fromkeys(tables.WINDOWS.names) | {"session_id": f"{split}-{number}"}
            table = pa.Table.from_pylist([row], schema=tables.WINDOWS)
            tables.write(out_dir / f"split={split}" / "part-0000.parquet", table, tables.WINDOWS)
        return {}

    return store.reuse_or_build(
        "windows",
        NAME,
        config={"number": number},
        inputs={"messages": messages},
        version=1,
        build=build,
    )


def model(store: Store, number: int, previous: Artifact | None = None) -> Artifact:
    """The trained weights of one stage."""
    return artifact(store, "models", number, **({"previous": previous} if previous else {}))


def run(store: Store, number: int, *stages: Artifact, shortfall: str | None = None) -> Artifact:
    """The run of a model; another run has other windows."""
    report = {
        "stages": [{"artifact": stage.fingerprint} for stage in stages],
        "learned": {"shortfall": shortfall},
    }

    def build(out_dir: Path) -> dict[str, object]:
        (out_dir / "report.json").write_text(json.dumps(report))
        return {"figures": {"at_decision": {"f1": 0.5}, "pr_auc": 0.25}}

    messages = artifact(store, "messages", number)
    inputs = {"messages": messages, "windows": windows(store, number, messages)}
    artifact(store, "parts", number)
    artifact(store, "vectors", number, messages=messages)
    predictions = artifact(store, "predictions", number, **inputs)
    return store.reuse_or_build(
        "runs",
        NAME,
        config={"recipe": RECIPE.model_dump(mode="json"), "backbones": "small"},
        inputs=inputs | {"predictions": predictions},
        version=1,
        build=build,
    )
