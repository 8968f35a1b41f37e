"""What a log that grows every night takes on the disk, beside its own size.

`python -m tests.benchmarks.nights` prepares a simulated log once a night, as `logllm retrain` does
before it trains, promotes a model without weights, and adds up what lies in the data folder: a file
with several names counts once. Weights, vectors, predictions and reports come on top.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from loguru import logger
from rich.console import Console
from rich.table import Table

from logllm_core.daily.champion.decisions import promote
from logllm_core.daily.champion.removed_models import keep_last
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.simulator.writing import Shape, write_log
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import recipe_named
from tests.logs.samples import messages_of, published

KINDS = ("raw", "parts", "messages", "windows")
RECIPE = recipe_named("quick")
SEED = 0
VALIDATION_FRACTION = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.nights", description=__doc__)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--lines", type=int, default=1_000, help="a night")
    parser.add_argument("--keep", type=int, default=5, help="models, as retraining does; 0: all")
    parser.add_argument("--shape", choices=get_args(Shape), default="bgl")
    options = parser.parse_args()
    logger.remove()
    output = Console(width=100)
    table = Table("nights", "log, bytes", "versions by themselves", "all in all", *KINDS)
    with tempfile.TemporaryDirectory() as folder:
        for row in sizes(Path(folder), options):
            table.add_row(*row)
            output.print(f"{row[0]} nights", style="dim")
    output.print(f"{options.shape}: bytes below the data folder, as multiples of the log's")
    output.print(table)


def sizes(folder: Path, options: argparse.Namespace) -> Iterator[list[str]]:
    """A row after each sixth of the nights."""
    shape, num_nights, num_lines = options.shape, options.nights, options.lines
    log, store = folder / "log", Store(data_dir=folder / "data")
    dataset = growing(shape, log, folder)
    write_log(
        folder / "all",
        num_lines=num_nights * num_lines,
        seed=SEED,
        shape=shape,
        label_path=folder / "labels" if shape == "hdfs" else None,
    )
    num_apart = 0
    with (folder / "all").open("rb") as lines:
        for night in range(1, num_nights + 1):
            with log.open("ab") as grown:
                grown.writelines(islice(lines, num_lines))
            messages = messages_of(store, dataset)
            windows = build_windows(
                store, dataset, messages, validation_fraction=VALIDATION_FRACTION
            )
            # The part's tables are the messages', as the log is one file.
            num_apart += sum(num_bytes(built.path) for built in (messages, windows))
            if options.keep:
                promote(store, trained(store, messages, windows), reason="It is newer.")
                keep_last(store, dataset.name, options.keep)
            if night % max(num_nights // 6, 1) == 0 or night == num_nights:
                parts = [store.data_dir / kind for kind in KINDS]
                found = [num_apart, num_bytes(store.data_dir), *map(num_bytes, parts)]
                size = log.stat().st_size
                yield [f"{night}", f"{size:,}", *(f"{taken / size:.2f}" for taken in found)]


def growing(shape: Shape, log: Path, folder: Path) -> Dataset:
    """The published data set of that shape, with another source."""
    source: dict[str, Any] = {"kind": "file", "path": str(log)}
    if shape == "hdfs":
        source["label_path"] = str(folder / "labels")
    values = published(shape).model_dump() | {"source": source}
    return Dataset.parse(values, origin="the benchmark")


def trained(store: Store, messages: Artifact, windows: Artifact) -> Artifact:
    """The run of a model without weights: those are as large every night."""
    name, inputs = windows.dataset, {"messages": messages, "windows": windows}
    model = store.reuse_or_build(
        "models", name, config={}, inputs=inputs, version=1, build=lambda _: {}
    )
    report = {"stages": [{"artifact": model.fingerprint}], "learned": {"shortfall": None}}

    def build(out_dir: Path) -> dict[str, object]:
        (out_dir / "report.json").write_text(json.dumps(report))
        return {}

    config = {"recipe": RECIPE.model_dump(mode="json"), "backbones": "small"}
    return store.reuse_or_build("runs", name, config=config, inputs=inputs, version=1, build=build)


def num_bytes(folder: Path) -> int:
    files = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum({found.st_ino: found.st_size for found in files}.values())


if __name__ == "__main__":
    main()
