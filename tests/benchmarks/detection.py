"""How fast new logs are judged: lines a second, and the delay from a line to its verdict.

`python -m tests.benchmarks.detection DATA_DIR FOLDER [--lines 8000] [--rates 100 200]`
takes the newest run of the demo from DATA_DIR, promotes it in FOLDER, and judges simulated logs in
the shape of BGL with other seeds and without labels:

- a first pass over a log, when nothing was judged before;
- a further log, when most messages were met already;
- a log that repeats itself: a window of the further log, then the first log several times;
- the plain way: windows of the first log one by one, nothing reused;
- a log that is followed while lines are appended at a steady rate.
"""

import argparse
import json
import shutil
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from loguru import logger

from flows.settings import DetectSettings
from logllm_core.daily.champion.decisions import promote_first
from logllm_core.daily.detect.current_judge import CurrentJudge
from logllm_core.daily.detect.detect import detect
from logllm_core.logs.catalog.catalog import CountWindows, Dataset
from logllm_core.logs.records.line_blocks import read_blocks
from logllm_core.logs.simulator.writing import write_log
from logllm_core.logs.windows.message_windows import joined
from logllm_core.logs.windows.window_stream import WindowStream
from logllm_core.scoring.answer_cache import Memory
from logllm_core.store.store import Store
from tests.benchmarks.alone import Figures

NAME = "demo"
KINDS = ("backbones", "messages", "models", "predictions", "runs", "windows")
FIRST_SEED = 1_000
MAX_DELAY_SECONDS = 5.0
NUM_REPEATS = 10
STEP_SECONDS = 0.1  # between the lines that are appended


class Forgetful(Memory):
    """Remembers nothing."""

    def recall(self, kind: str, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        return {}

    def remember(self, kind: str, payloads: Mapping[bytes, bytes]) -> None:
        pass


def unlabelled(path: Path, *, num_lines: int, seed: int) -> Path:
    """A simulated log whose column of labels is cut off."""
    write_log(path, num_lines=num_lines, seed=seed)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(line.partition(b" ")[2] for line in lines))
    return path


def repeating(path: Path, dataset: Dataset, logs: Sequence[Path]) -> Path:
    """A window of the second log, then all whole windows of the first again and again."""
    assert isinstance(dataset.windows, CountWindows)
    length, num_fields = dataset.windows.length, len(dataset.line.names) - 1  # without the label
    first, second = (
        [
            line
            for line in log.read_bytes().splitlines(keepends=True)
            if len(line.split()) >= num_fields
        ]
        for log in logs
    )
    whole = first[: len(first) // length * length]
    path.write_bytes(b"".join(second[:length] + whole * NUM_REPEATS))
    return path


def judge_log(store: Store, dataset: Dataset, path: Path) -> Figures:
    """Seconds from the first line on, the loading of the model left out."""
    begun = time.perf_counter()
    CurrentJudge(store, dataset.name).close()
    loading = time.perf_counter() - begun
    begun, cpu_begun = time.perf_counter(), time.process_time()
    found = detect(store, dataset, [str(path)])
    seconds = time.perf_counter() - begun - loading
    return {
        "num_lines": found.num_lines,
        "num_windows": found.num_windows,
        "num_reused_windows": found.num_reused_windows,
        "num_anomalous_windows": found.num_anomalous_windows,
        "loading_seconds": loading,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu_begun,  # of all cores, loading included
        "lines_per_second": found.num_lines / seconds,
    }


def judge_plainly(
    store: Store, dataset: Dataset, path: Path, folder: Path, num_windows: int
) -> Figures:
    """Windows one by one; contributions are left out, which the quick way has to find too."""
    current = CurrentJudge(store, dataset.name)
    stream = WindowStream(dataset, current.masking, source=str(path))
    with path.open("rb") as raw:
        windows = joined([stream.push(block) for block in read_blocks(raw)])
    step = max(len(windows) // num_windows, 1)
    some = [windows.slice(n, 1) for n in range(0, len(windows), step)][:num_windows]
    current.judge._memory = Forgetful(folder)
    current.judge._num_to_localize = 0
    current.judge.judge(windows.slice(0, 3))
    begun, cpu_begun = time.perf_counter(), time.process_time()
    for window in some:
        current.judge.judge(window)
    seconds = time.perf_counter() - begun
    num_lines = sum(len(window.line_numbers) for window in some)
    return {
        "num_windows": len(some),
        "num_lines": num_lines,
        "cpu_seconds": time.process_time() - cpu_begun,
        "lines_per_second": num_lines / seconds,
    }


def follow(
    store: Store, dataset: Dataset, path: Path, *, rate: float, seconds: float, seed: int
) -> Figures:
    """Seconds from the moment that a line stands in the file to its window's verdict."""
    source = unlabelled(path.with_suffix(".whole"), num_lines=int(rate * seconds), seed=seed)
    lines = source.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"")
    arrived: list[float] = []
    delays: list[float] = []  # of every line
    last_delays: list[float] = []  # of each window's last line
    told_at = [time.perf_counter()]
    is_written = threading.Event()
    is_loaded = threading.Event()

    def write() -> None:
        is_loaded.wait()
        begun = time.perf_counter()
        with path.open("ab", buffering=0) as stream:
            while len(arrived) < len(lines):
                due = int((time.perf_counter() - begun) * rate)
                share = lines[len(arrived) : due]
                stream.write(b"".join(share))
                arrived.extend([time.perf_counter()] * len(share))
                time.sleep(STEP_SECONDS)
        is_written.set()

    def tell(verdicts: pa.Table) -> None:
        now = told_at[0] = time.perf_counter()
        for row in verdicts.select(["first_line", "last_line"]).to_pylist():
            delays.extend(now - arrived[n] for n in range(row["first_line"], row["last_line"] + 1))
            last_delays.append(now - arrived[row["last_line"]])

    def is_stopped() -> bool:
        is_loaded.set()
        is_quiet = time.perf_counter() - told_at[0] > 2 * MAX_DELAY_SECONDS
        return is_written.is_set() and is_quiet

    writer = threading.Thread(target=write)
    writer.start()
    detect(
        store,
        dataset,
        [str(path)],
        tell=tell,
        is_following=True,
        max_delay_seconds=MAX_DELAY_SECONDS,
        is_stopped=is_stopped,
    )
    writer.join()
    found: Figures = {"lines_per_second": rate, "num_lines": len(delays)}
    for name, values in (("line", delays), ("last_line", last_delays)):
        median, high = np.percentile(values, [50, 95])
        found |= {f"{name}_median_seconds": float(median), f"{name}_p95_seconds": float(high)}
    return found


def prepare(data_dir: Path, folder: Path) -> tuple[Store, Dataset]:
    for kind in KINDS:
        names = (NAME,) if kind != "backbones" else (".",)
        for name in names:
            shutil.copytree(data_dir / kind / name, folder / kind / name, dirs_exist_ok=True)
    settings = DetectSettings(data_dir=folder)
    newest: Any = settings.store.newest("runs", NAME)
    promote_first(settings.store, newest)
    return settings.store, settings.find_dataset(NAME)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.detection")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=8_000)
    parser.add_argument("--rates", type=float, nargs="*", default=[100.0, 200.0])
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--plain-windows", type=int, default=200)
    options = parser.parse_args()
    logger.remove()
    folder: Path = options.folder
    store, dataset = prepare(options.data_dir, folder)
    logs = [
        unlabelled(folder / f"{n}.log", num_lines=options.lines, seed=FIRST_SEED + n)
        for n in range(2)
    ]
    found: Figures = {}
    for name, path in zip(("first", "further"), logs, strict=True):
        found[name] = judge_log(store, dataset, path)
        print(json.dumps({name: found[name]}), flush=True)
    found["again"] = judge_log(store, dataset, repeating(folder / "again.log", dataset, logs))
    print(json.dumps({"again": found["again"]}), flush=True)
    found["plain"] = judge_plainly(store, dataset, logs[0], folder / "plain", options.plain_windows)
    print(json.dumps({"plain": found["plain"]}), flush=True)
    for rate in options.rates:
        path = folder / f"followed-{rate:g}.log"
        figures = follow(
            store, dataset, path, rate=rate, seconds=options.seconds, seed=FIRST_SEED + 9
        )
        print(json.dumps({f"follow at {rate:g}": figures}), flush=True)


if __name__ == "__main__":
    main()
