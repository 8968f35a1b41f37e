"""Models and runs as artifacts, without anything trained."""

import json
from pathlib import Path
from typing import Any

from logllm_core.store import Artifact, Store
from logllm_core.training.recipes import recipe_named

NAME = "own"
RECIPE = recipe_named("quick")


def artifact(store: Store, kind: Any, number: int, **inputs: Artifact) -> Artifact:
    """An artifact with a file, another one for each number."""

    def build(out_dir: Path) -> dict[str, object]:
        (out_dir / "weights").write_text(str(number))
        return {}

    return store.reuse_or_build(
        kind, NAME, config={"number": number}, inputs=inputs, version=1, build=build
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

    kinds = ("messages", "windows", "predictions")
    return store.reuse_or_build(
        "runs",
        NAME,
        config={"recipe": RECIPE.model_dump(mode="json"), "backbones": "small"},
        inputs={kind: artifact(store, kind, number) for kind in kinds},
        version=1,
        build=build,
    )
