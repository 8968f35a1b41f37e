"""How far the same trained model's log-odds differ from float32 on one thread, way by way.

`python -m tests.benchmarks.rounding` asks the model of `tests/model/steady/` about its windows in
other ways: other precisions, threads, batches, and instructions of an ordinary processor. The
first way is the one that the others are held against; a verdict differs where the sign does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from loguru import logger
from numpy.typing import NDArray

from logllm_core.model import Precision, batches
from logllm_core.scoring.rounding import in_batches_of
from logllm_core.store.store import Store
from tests.model.steady_model import load_steady, read_asked, says

# What a server processor without AVX-512 and AMX would run; all three libraries have to be told.
ORDINARY: Mapping[str, str] = {
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How windows are scored."""

    precision: Precision = "float32"
    num_threads: int = 1
    sizes: Mapping[str, int] = field(default_factory=dict)  # constants of batches.py
    is_alone: bool = False
    is_ordinary: bool = False  # in a process with the environment ORDINARY


SMALL, LARGE = {"BATCH_POSITIONS": 192, "TREE_NODES": 96}, {"BATCH_POSITIONS": 12_288}
WAYS: Mapping[str, Way] = {
    "float32, one thread": Way(),
    "float32, two threads": Way(num_threads=2),
    "float32, small batches": Way(sizes=SMALL),
    "float32, large batches": Way(sizes=LARGE),
    "float32, each window alone": Way(is_alone=True),
    "bfloat16, one thread": Way(precision="bfloat16"),
    "bfloat16, two threads": Way(precision="bfloat16", num_threads=2),
    "bfloat16, small batches": Way(precision="bfloat16", sizes=SMALL),
    "bfloat16, large batches": Way(precision="bfloat16", sizes=LARGE),
    "bfloat16, each window alone": Way(precision="bfloat16", is_alone=True),
    "float32, AVX2": Way(is_ordinary=True),
    "float32, AVX2, two threads": Way(is_ordinary=True, num_threads=2),
    "bfloat16, AVX2": Way(precision="bfloat16", is_ordinary=True),
}
Found = tuple[NDArray[np.float64], float]  # log-odds, and the CPU seconds that they took


def scored(data_dir: Path, *, is_ordinary: bool) -> Iterator[tuple[str, Found]]:
    """By the ways of this process, whose environment is set."""
    asked = read_asked()
    ways = {name: way for name, way in WAYS.items() if way.is_ordinary == is_ordinary}
    loaded = {
        precision: load_steady(Store(data_dir=data_dir), asked, precision)
        for precision in {way.precision for way in ways.values()}
    }
    for name, way in ways.items():
        model, collator = loaded[way.precision]
        begun = time.process_time()
        with pytest.MonkeyPatch.context() as patch:
            for constant, size in way.sizes.items():
                patch.setattr(batches, constant, size)
            log_odds = (
                in_batches_of(1, model, collator)(asked.windows)
                if way.is_alone
                else says(model, collator, asked.windows, num_threads=way.num_threads)
            )
        yield name, (log_odds, time.process_time() - begun)


def in_ordinary_process(data_dir: Path) -> Iterator[tuple[str, Found]]:
    command = [sys.executable, "-m", "tests.benchmarks.rounding", "--ordinary"]
    made = subprocess.run(
        [*command, "--data-dir", str(data_dir)],
        env=os.environ | ORDINARY,
        stdout=subprocess.PIPE,
        check=True,
    )
    for line in made.stdout.splitlines():
        name, log_odds, seconds = json.loads(line)
        yield name, (np.array(log_odds), seconds)


def show(found: Iterable[tuple[str, Found]]) -> None:
    """A row a way, as soon as it is measured."""
    name_and_figures = "{:<28}{:>20}{:>10}{:>16}{:>16}{:>9}"
    columns = ("largest difference", "median", "windows within", "other verdicts", "CPU s")
    print(name_and_figures.format("way", *columns))
    first: NDArray[np.float64] | None = None
    for name, (log_odds, seconds) in found:
        first = log_odds if first is None else first
        off = np.abs(log_odds - first)
        figures = (
            f"{off.max():.6f}",
            f"{np.median(off):.6f}",
            int((np.abs(first) < off.max()).sum()),
            int(((log_odds > 0) != (first > 0)).sum()),
            f"{seconds:.1f}",
        )
        print(name_and_figures.format(name, *figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rounding")
    parser.add_argument("--ordinary", action="store_true", help="those ways alone, as JSON lines")
    parser.add_argument("--data-dir", type=Path, help="where the decoder is, re-saved")
    options = parser.parse_args()
    logger.remove()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = options.data_dir or Path(folder)
        found = scored(data_dir, is_ordinary=options.ordinary)
        if options.ordinary:
            for name, (log_odds, seconds) in found:
                print(json.dumps([name, log_odds.tolist(), seconds]))
        else:
            show(chain(found, in_ordinary_process(data_dir)))


if __name__ == "__main__":
    main()
