"""`make bench`: figures of preparing logs and of the model, as tables and as `data/bench.json`.

Each figure is taken in a process of its own, beside the plain way on the same log or a slice of it.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from logllm_core.logs.simulator.writing import write_log
from tests.benchmarks.alone import ROOT, run_alone
from tests.benchmarks.alone import Figures as Row
from tests.benchmarks.model import measure_model, show_model

PARTS = ("prepare", "model")
SHAPES = ("bgl", "hdfs")
NUM_RUNS = 3  # of which the middle one is given; one where a log is long
NUM_LINES_OF_A_LONG_LOG = 5_000_000
NUM_PLAIN_LINES = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--lines", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "bench.json")
    parser.add_argument("--only", choices=PARTS, help="measure, and write, this part alone")
    parser.add_argument("--quick", action="store_true", help="the model on next to nothing")
    options = parser.parse_args()
    parts = [options.only] if options.only else PARTS
    out: Path = options.out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bench-") as folder:
        if "prepare" in parts:
            found["prepare"] = measure_preparing(options.shapes, options.lines, Path(folder))
        if "model" in parts:
            found["model"] = measure_model(out.parent, Path(folder), is_quick=options.quick)
    machine = {
        "system": platform.platform(),
        "num_cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    content = {"machine": machine, **found}
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    Console().rule("all")
    if "prepare" in found:
        show(found["prepare"])
        show_growth(found["prepare"])
    if "model" in found:
        show_model(found["model"])
    Console().print(f"Written to {out}")


def measure_preparing(shapes: list[str], lines: list[int], folder: Path) -> list[Row]:
    rows = []
    for shape in shapes:
        for num_lines in lines:
            rows.append(measure(shape, num_lines, folder))
            show(rows[-1:])
    return rows


def measure(shape: str, num_lines: int, folder: Path) -> Row:
    """Lines a second of each step, the whole, and the plain way; peak memory."""
    path = folder / f"{shape}-{num_lines}.log"
    begun = time.perf_counter()
    truth = write_log(path, num_lines=num_lines, seed=0, shape=shape)  # type: ignore[arg-type]
    seconds = {"simulate": time.perf_counter() - begun}
    # The plain way first, and nothing beside it.
    plain = run_alone("preparing", "plain", shape, path, NUM_PLAIN_LINES)
    num_runs = 1 if num_lines >= NUM_LINES_OF_A_LONG_LOG else NUM_RUNS
    for what in ("parse", "mask"):
        seconds |= run_alone("preparing", what, shape, path)["seconds"]
    runs = [run_alone("preparing", "prepare", shape, path) for _ in range(num_runs)]
    runs.sort(key=lambda found: float(found["seconds"]["prepare"]))
    seconds |= runs[len(runs) // 2]["seconds"]
    path.unlink()
    per_second = {step: num_lines / taken for step, taken in seconds.items()}
    plain_per_second = plain["num_lines"] / plain["seconds"]["prepare"]
    return {
        "shape": shape,
        "num_lines": num_lines,
        "size_bytes": truth["size_bytes"],
        "num_runs": num_runs,
        "seconds": seconds,
        "lines_per_second": per_second,
        "plain_lines_per_second": plain_per_second,
        "prepare_to_plain": per_second["prepare"] / plain_per_second,
        "peak_memory_bytes": max(found["peak_memory_bytes"] for found in runs),
        "vocabulary_bytes": runs[0]["vocabulary_bytes"],
    }


def show_growth(rows: list[Row]) -> None:
    """What more lines cost: time should grow as they do, memory by the vocabulary alone."""
    for shape in dict.fromkeys(row["shape"] for row in rows):
        of_shape = [row for row in rows if row["shape"] == shape]
        first, last = of_shape[0], of_shape[-1]
        times = {name: last[name] / first[name] for name in ("num_lines", "peak_memory_bytes")}
        seconds = last["seconds"]["prepare"] / first["seconds"]["prepare"]
        Console().print(
            f"{shape}: {times['num_lines']:.0f} times the lines took {seconds:.1f} times the time "
            f"and {times['peak_memory_bytes']:.2f} times the memory; vocabulary "
            f"{first['vocabulary_bytes']:,} and {last['vocabulary_bytes']:,} characters"
        )


def show(rows: list[Row]) -> None:
    table = Table(box=box.SIMPLE)
    steps = ("simulate", "parse", "mask", "window", "prepare")
    for column in ("shape", "lines", *steps, "plain", "ratio", "peak memory"):
        table.add_column(column, justify="left" if column == "shape" else "right")
    for row in rows:
        speeds = [f"{row['lines_per_second'][step]:,.0f}" for step in steps]
        table.add_row(
            row["shape"],
            f"{row['num_lines']:,}",
            *speeds,
            f"{row['plain_lines_per_second']:,.0f}",
            f"{row['prepare_to_plain']:.0f}",
            f"{row['peak_memory_bytes'] / 2**20:,.0f} MiB",
        )
    output = Console(width=max(Console().width, 120))
    output.print("Lines a second (parse and mask on one thread); ratio of prepare to plain.")
    output.print(table)


if __name__ == "__main__":
    main()
