"""Whether a recipe comes to the same good result whatever the log, the seed and the processor.

`make steadiness`, or `python -m tests.benchmarks.steadiness`, trains a recipe on simulated logs of
several seeds, with several seeds of its own, on one thread and on two, in float32 and in bfloat16,
and on the sample of HDFS where LOGLLM_MIRROR names a folder that holds it. Each cell is an ordinary
`logllm train` in a process of its own; what is finished is reused, so the same command goes on
where the last one stopped. The demo's own log (seed 0) is not among them: a recipe is chosen on
other logs, and the demo's figures are looked at once.

Logs of other seeds have other lines in another order, drawn from the same templates.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from logllm_core.results import MODEL
from tests.benchmarks.alone import ROOT

DEMO = ROOT / "data" / "datasets" / "demo.toml"
HDFS = "hdfs"
RESULTS = "steadiness.jsonl"  # a line a cell
MIRROR = "LOGLLM_MIRROR"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One training."""

    log: str  # "log-1": the simulator's log of seed 1; or "hdfs"
    seed: int
    num_threads: int
    precision: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it, on the test split."""

    cell: Cell
    f1: float
    pr_auc: float
    validation_pr_auc: float | None
    best_other: str  # the simple detector of the highest F1
    best_other_f1: float
    last_loss: float
    num_steps: int
    training_minutes: float
    cpu_minutes: float  # of the whole command, from the raw log to the report


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    logs = [f"log-{seed}" for seed in options.logs]
    if os.environ.get(MIRROR):
        logs += [HDFS] * options.hdfs
    # Stopped early, it has a little of every log.
    for seed, threads, precision, log in product(
        options.seeds, options.threads, options.precisions, logs
    ):
        yield Cell(log=log, seed=seed, num_threads=threads, precision=precision)


def data_set(log: str, folder: Path) -> str:
    """What `logllm train` takes: the demo's data set with the log of another seed."""
    if log == HDFS:
        return log
    text = DEMO.read_text(encoding="utf-8")
    assert text.count("\nseed = 0\n") == 1
    path = folder / f"{log}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int(log.removeprefix("log-"))
    path.write_text(text.replace("\nseed = 0\n", f"\nseed = {seed}\n"), encoding="utf-8")
    return str(path)


def run(cell: Cell, folder: Path, options: Sequence[str]) -> Outcome:
    """Train and evaluate in a process of its own.

    The number of threads is in no fingerprint, so each has a data folder.
    """
    data_dir = folder / f"threads-{cell.num_threads}"
    command = [
        *(sys.executable, "-c", "from flows.cli.main import main; main()", "train"),
        *(data_set(cell.log, folder / "datasets"), "--data-dir", str(data_dir)),
        *("--seed", str(cell.seed), "--set", f"precision={cell.precision}", "--json", *options),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(cell.num_threads)}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, errors):
            file.seek(0)
        if process.returncode:
            raise SystemExit(f"{cell} failed:\n{errors.read()}")
        page = Path(json.loads(out.read().strip().splitlines()[-1])["report"])
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    return outcome(cell, report, cpu_seconds=used.ru_utime + used.ru_stime)


def outcome(cell: Cell, report: dict[str, Any], *, cpu_seconds: float) -> Outcome:
    """Of what the report says."""
    f1_of = {name: found["at_decision"]["f1"] or 0.0 for name, found in report["detectors"].items()}
    own = f1_of.pop(MODEL)
    best = max(f1_of, key=lambda name: f1_of[name])
    stages, validation = report["stages"], report["validation"]
    return Outcome(
        cell=cell,
        f1=own,
        pr_auc=report["detectors"][MODEL]["pr_auc"],
        validation_pr_auc=validation and validation["pr_auc"],
        best_other=best,
        best_other_f1=f1_of[best],
        last_loss=stages[-1]["last_loss"],
        num_steps=sum(stage["num_steps"] for stage in stages),
        training_minutes=sum(stage["training_seconds"] for stage in stages) / 60,
        cpu_minutes=cpu_seconds / 60,
    )


def summary(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """A row a group of cells that differ in log and seed alone, and one for all simulated logs."""
    groups: dict[str, list[Outcome]] = {}
    for found in outcomes:
        cell = found.cell
        kind = HDFS if cell.log == HDFS else "simulated"
        threads = f"{cell.num_threads} thread{'s' * (cell.num_threads > 1)}"
        groups.setdefault(f"{kind}, {cell.precision}, {threads}", []).append(found)
    all_simulated = [found for found in outcomes if found.cell.log != HDFS]
    if all_simulated and len(groups) > 1:
        groups["simulated, all"] = all_simulated
    return [{"trainings": name, **_row(group)} for name, group in groups.items()]


def _row(group: Sequence[Outcome]) -> dict[str, str]:
    f1s, areas = [found.f1 for found in group], [found.pr_auc for found in group]
    return {
        "number": str(len(group)),
        "F1: mean": f"{statistics.mean(f1s):.3f}",
        "std": f"{statistics.stdev(f1s):.3f}" if len(group) > 1 else "",
        "worst": f"{min(f1s):.3f}",
        "PR-AUC: mean": f"{statistics.mean(areas):.3f}",
        "worst ": f"{min(areas):.3f}",
        "behind a simple detector": str(sum(found.f1 < found.best_other_f1 for found in group)),
        "steps": str(round(statistics.mean(found.num_steps for found in group))),
        "minutes of training": f"{statistics.median(f.training_minutes for f in group):.1f}",
        "processor minutes in all": f"{statistics.median(f.cpu_minutes for f in group):.1f}",
    }


def each(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    return [
        {
            "log": found.cell.log,
            "seed": str(found.cell.seed),
            "threads": str(found.cell.num_threads),
            "precision": found.cell.precision,
            "F1": f"{found.f1:.3f}",
            "PR-AUC": f"{found.pr_auc:.3f}",
            "validation PR-AUC": ""
            if found.validation_pr_auc is None
            else f"{found.validation_pr_auc:.3f}",
            "last loss": f"{found.last_loss:.4f}",
            "best simple detector": f"{found.best_other_f1:.3f} ({found.best_other})",
        }
        for found in outcomes
    ]


def markdown(rows: Sequence[dict[str, str]]) -> str:
    head = [*rows[0]]
    lines = [head, ["---"] * len(head), *([row[name] for name in head] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def processor() -> str:
    """Its name, and whether it multiplies bfloat16 in hardware."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    named = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    flags = set(text.split())
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{named[0] if named else platform.machine()} ({', '.join(known)})"


def read(path: Path, options: Sequence[str]) -> list[Outcome]:
    """What was measured before with the same options."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [json.loads(line) for line in lines]
    return [
        Outcome(**{**row["outcome"], "cell": Cell(**row["outcome"]["cell"])})
        for row in found
        if row["options"] == list(options)
    ]


def keep(path: Path, outcome: Outcome, options: Sequence[str]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"options": list(options), "outcome": asdict(outcome)}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.steadiness", description=__doc__
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "steadiness")
    parser.add_argument("--logs", type=int, nargs="*", default=[1, 2, 3], help="the logs' seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--hdfs", type=int, choices=(0, 1), default=1, help="0: without the sample")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once")
    parser.add_argument("train_options", nargs="*", help="behind --: options of logllm train")
    given = parser.parse_args()
    folder: Path = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS
    outcomes = read(path, given.train_options)
    done = {found.cell for found in outcomes}
    wanted = [cell for cell in cells(given) if cell not in done]
    pool = ThreadPoolExecutor(given.jobs)
    try:
        for found in pool.map(lambda cell: run(cell, folder, given.train_options), wanted):
            keep(path, found, given.train_options)
            outcomes.append(found)
            Console().print(each([found])[0])
    finally:
        pool.shutdown(cancel_futures=True)  # after a fault the next trainings do not begin
    Console().print(f"\n{processor()}\n", soft_wrap=True)
    for rows in (summary(outcomes), each(outcomes)):
        sys.stdout.write(markdown(rows) + "\n")


if __name__ == "__main__":
    main()
