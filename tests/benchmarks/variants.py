"""What was tried on the way to the model's speed: `python -m tests.benchmarks.variants`.

Prints seconds for each: a step of stage 3, and scoring sessions that repeat themselves, each in a
process of its own. With the name of a row as its argument, it measures that row here.
"""

import argparse
import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from loguru import logger
from rich import box
from rich.console import Console
from rich.table import Table

from logllm_core import progress
from logllm_core.model import batches
from logllm_core.training.stage_run import StageRun, set_trainable
from tests.benchmarks import scoring, training
from tests.benchmarks.alone import ROOT, Figures, run_alone
from tests.benchmarks.material import SCALES, Scale
from tests.benchmarks.training import Change, Laps, Way

STAGE = "3"
Measure = Callable[[Scale, Path, Path], Figures]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.variants")
    parser.add_argument("rows", nargs="*", help="some of the table alone, by name")
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--data-dir", type=Path, default=ROOT / "data", help="keeps the backbones")
    parser.add_argument("--here", type=Path, help="measure the first row in this process, there")
    options = parser.parse_args()
    unknown = [name for name in options.rows if name not in VARIANTS]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; known: {', '.join(VARIANTS)}")
    data_dir: Path = options.data_dir.absolute()
    if options.here:
        logger.remove()
        measure = VARIANTS[options.rows[0]]
        print(json.dumps(measure(SCALES[options.scale], data_dir, options.here)))
        return
    table = Table("variant", box=box.SIMPLE)
    for column in ("seconds", "first step", "peak memory"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.rows or VARIANTS:
            more = ("--scale", options.scale, "--data-dir", data_dir, "--here", folder)
            cache = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/compiled"}
            found = run_alone("variants", name, *more, environment=cache)
            first = found.get("first_step_seconds")
            table.add_row(
                name,
                f"{found['seconds']:.2f}",
                "" if first is None else f"{first:.2f}",
                f"{found['peak_memory_bytes'] / 2**20:,.0f} MiB",
            )
    Console().print(table)


def step(
    scale: Scale, data_dir: Path, folder: Path, *, way: Way, change: Change | None = None
) -> Figures:
    """A training step, otherwise as it is."""
    return training.measure(way, STAGE, scale, data_dir, folder, change)


def fused_attention(run: StageRun) -> None:
    run.model.decoder.set_attn_implementation("sdpa")
    run.model.encoder.bert.set_attn_implementation("sdpa")


def gradient_checkpointing(run: StageRun) -> None:
    run.model.decoder.activation_checkpointing_enable({"use_reentrant": False})
    set_trainable(run.model, run.stage, run.recipe)


def torch_dropout(run: StageRun) -> None:
    training.use_torch_dropout(run.model)


def small_micro_batches(run: StageRun) -> None:
    run.state.change(micro_batch_size=training.NUM_PLAIN_MICRO_BATCH)


def scored(
    scale: Scale, data_dir: Path, folder: Path, *, num_positions: int, num_nodes: int
) -> Figures:
    """Scoring, with batches of so many positions and trees of so many nodes."""
    batches.BATCH_POSITIONS, batches.TREE_NODES = num_positions, num_nodes
    progress.display.set(Laps())
    sessions, texts = scoring.sessions_of("repetition", scale, folder, None)
    ready = training.load(data_dir, texts, Way(), training.recipe_of(scale))
    figures = scoring.score(ready, sessions, scale)
    return figures | {"peak_memory_bytes": training.peak_bytes()}


_AS_IT_IS = Way()
_STEPS: dict[str, tuple[Way, Change | None]] = {
    "step: as it is": (_AS_IT_IS, None),
    "step: fused attention (sdpa)": (_AS_IT_IS, fused_attention),
    "step: gradient checkpointing": (_AS_IT_IS, gradient_checkpointing),
    "step: torch.compile": (Way(is_compiled=True), None),
    "step: torch's dropout": (_AS_IT_IS, torch_dropout),
    "step: micro-batches of 4": (_AS_IT_IS, small_micro_batches),
    "step: float32": (Way(dtype=torch.float32), None),
}
_SIZES = [(size, 192) for size in (768, 1_536, 3_072, 6_144)]
_SIZES += [(3_072, nodes) for nodes in (48, 96, 384, 768)]
VARIANTS: Mapping[str, Measure] = {
    name: functools.partial(step, way=way, change=change) for name, (way, change) in _STEPS.items()
} | {
    f"scoring: {size} positions a batch, {nodes} nodes a tree": functools.partial(
        scored, num_positions=size, num_nodes=nodes
    )
    for size, nodes in _SIZES
}


if __name__ == "__main__":
    main()
