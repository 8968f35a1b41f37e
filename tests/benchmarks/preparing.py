"""One measurement of the logs rooms, in a process of its own: prints seconds and memory as JSON.

Run by `python -m tests.benchmarks`. A process of its own, because memory is its high-water mark.
"""

import csv
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from loguru import logger

from logllm_core.logs.catalog.catalog import Dataset, find_dataset
from logllm_core.logs.catalog.sources import LocalFile
from logllm_core.logs.messages import file_messages, log_messages, masking, parsing
from logllm_core.logs.records import line_blocks
from logllm_core.logs.sources import raw_log
from logllm_core.logs.windows import window_artifact
from logllm_core.query import views
from logllm_core.store.store import Store
from tests.logs.plain import plain_prepare

CATALOG = Path(__file__).resolve().parents[2] / "data" / "datasets"
VALIDATION_FRACTION = 0.1
Figures = dict[str, Any]


def dataset_of(shape: str, log_path: Path) -> Dataset:
    """The published data set of that shape, over a log on disk."""
    published = find_dataset(shape, [CATALOG])
    label_path = log_path.with_name(f"{log_path.stem}_label.csv")
    source = {"kind": "file", "path": str(log_path)}
    if label_path.is_file():
        source["label_path"] = str(label_path)
    values = published.model_dump() | {"source": source, "line_slice": None}
    return Dataset.parse(values, origin="the benchmark")


def prepare(dataset: Dataset, log_path: Path) -> Figures:
    """The whole way from a raw log to windows, as the flow goes it, without Prefect's start."""
    with tempfile.TemporaryDirectory(dir=log_path.parent) as folder:
        store = Store(data_dir=Path(folder))
        seconds: dict[str, float] = {}
        started = time.perf_counter()

        def timed(step: str, work: Callable[[], Any]) -> Any:
            begun = time.perf_counter()
            done = work()
            seconds[step] = time.perf_counter() - begun
            return done

        raw = timed("checksum", lambda: raw_log.obtain_log(store, dataset, mirror=None))
        (file,) = raw_log.log_files(raw)
        part = timed(
            "parse_and_mask",
            lambda: file_messages.build_part(store, dataset, raw, file, is_masked=True),
        )
        built = timed(
            "messages",
            lambda: log_messages.build_messages(store, dataset, raw, [part], preprocessing="regex"),
        )
        timed(
            "window",
            lambda: window_artifact.build_windows(
                store, dataset, built, validation_fraction=VALIDATION_FRACTION
            ),
        )
        timed("views", lambda: views.refresh_views(store))
        seconds["prepare"] = time.perf_counter() - started
        vocabulary_bytes = sum(map(len, log_messages.read_vocabulary(built)))
        return {"seconds": seconds, "vocabulary_bytes": vocabulary_bytes}


def parse(dataset: Dataset, log_path: Path) -> Figures:
    """Parsing alone, on one thread."""
    seconds = 0.0
    with log_path.open("rb") as stream:
        for block in line_blocks.read_blocks(stream):
            begun = time.perf_counter()
            parsing.parse_block(dataset, replace(block))
            seconds += time.perf_counter() - begun
    return {"seconds": {"parse": seconds}}


def mask(dataset: Dataset, log_path: Path) -> Figures:
    """Masking alone, on one thread."""
    seconds = 0.0
    with log_path.open("rb") as stream:
        for block in line_blocks.read_blocks(stream):
            contents = parsing.parse_block(dataset, block).contents
            begun = time.perf_counter()
            masking.mask_messages(contents)
            seconds += time.perf_counter() - begun
    return {"seconds": {"mask": seconds}}


def plain(dataset: Dataset, log_path: Path, num_lines: int) -> Figures:
    """The same way in plain Python, over the first lines of the same log."""
    labels = {}
    if isinstance(dataset.source, LocalFile) and dataset.source.label_path:
        with Path(dataset.source.label_path).open(encoding="utf-8", newline="") as table:
            labels = {row["BlockId"]: row["Label"] == "Anomaly" for row in csv.DictReader(table)}
    begun = time.perf_counter()
    with log_path.open(encoding="latin-1") as stream:
        lines = [line.rstrip("\n") for line in itertools.islice(stream, num_lines)]
        plain_prepare(
            dataset, lines, session_labels=labels, validation_fraction=VALIDATION_FRACTION
        )
    return {"seconds": {"prepare": time.perf_counter() - begun}, "num_lines": len(lines)}


def main() -> None:
    what, shape, path, *more = sys.argv[1:]
    logger.remove()
    dataset, log_path = dataset_of(shape, Path(path)), Path(path)
    works: dict[str, Callable[[], Figures]] = {
        "prepare": lambda: prepare(dataset, log_path),
        "parse": lambda: parse(dataset, log_path),
        "mask": lambda: mask(dataset, log_path),
        "plain": lambda: plain(dataset, log_path, int(more[0])),
    }
    figures = works[what]()
    figures["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
