"""Writes a simulated log and returns its truth."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from logllm_core.errors import LogLLMError
from logllm_core.logs.simulator import bgl, hdfs, thunderbird
from logllm_core.progress import track
from logllm_core.store.disk import remove_unfinished, whole_file
from logllm_core.store.store import Json

Shape = Literal["bgl", "thunderbird", "hdfs"]
VERSION = 2  # raise when the same seed would give another log
UNSTABLE_FROM_FRACTION = 0.8  # of the lines: where new wordings and new messages set in
_BATCHES = {
    "bgl": bgl.MACHINE.batches,
    "hdfs": hdfs.batches,
    "thunderbird": thunderbird.MACHINE.batches,
}


def write_log(
    path: Path,
    *,
    num_lines: int,
    seed: int,
    shape: Shape = "bgl",
    unstable_from_fraction: float = UNSTABLE_FROM_FRACTION,
    label_path: Path | None = None,
) -> dict[str, Json]:
    """Write a log of exactly `num_lines` lines and return its truth: counts and alert types.

    The same arguments give the same bytes, as long as numpy draws the same numbers. A shorter log
    is not the beginning of a longer one.

    Args:
        shape: `bgl`, `thunderbird` (also that of Liberty and Spirit), or `hdfs`, whose sessions are
            labelled in a file of their own.
        unstable_from_fraction: of the lines; where new wordings and new messages set in.
        label_path: where `hdfs` writes `BlockId,Label`. Default: `<stem>_label.csv` beside the log.

    Raises:
        LogLLMError: a file exists already, or the shape is not known or has no label file.
    """
    paths = _new_files(path, shape, label_path)
    first_late = num_lines * unstable_from_fraction
    with ExitStack() as stack:  # the log comes last: where it stands, its labels do
        unfinished = [stack.enter_context(whole_file(wanted)) for wanted in paths]
        counts, alerts = _write(unfinished, shape, num_lines, first_late, seed)
    return {
        "num_lines": num_lines,
        "num_alert_lines": alerts.total(),
        "alert_types": dict(sorted(alerts.items())),
        **counts,
        "size_bytes": path.stat().st_size,
    }


def _new_files(path: Path, shape: Shape, label_path: Path | None) -> list[Path]:
    """The log's and, where sessions are labelled, that of the labels; neither is there yet."""
    if shape not in get_args(Shape):
        raise LogLLMError(f'"{shape}" is no shape of log. Choose one of: {", ".join(_BATCHES)}.')
    if shape != "hdfs" and label_path is not None:
        raise LogLLMError(f"A log like {shape} carries its labels itself. Leave out label_path.")
    paths = [path]
    if shape == "hdfs":
        paths.append(label_path or path.with_name(f"{path.stem}_label.csv"))
    for wanted in paths:
        remove_unfinished(wanted)  # a log may be large
        if wanted.exists():
            raise LogLLMError(f"{wanted} exists already. Choose another file, or delete it first.")
    return paths


def _write(
    paths: list[Path], shape: Shape, num_lines: int, first_late: float, seed: int
) -> tuple[Counter[str], Counter[str]]:
    """Write the log and, where a second path is given, its labels; counts and alerts."""
    counts: Counter[str] = Counter(num_unparsable_lines=0)
    alerts: Counter[str] = Counter()
    rng = np.random.Generator(np.random.PCG64(seed % (1 << 64)))  # it takes no negative seed
    with (
        ExitStack() as stack,
        track("Simulating", total=num_lines, unit="lines") as advance,
    ):
        log, *labels = (stack.enter_context(path.open("wb")) for path in paths)
        for file in labels:
            file.write(b"BlockId,Label\n")
        for batch in _BATCHES[shape](num_lines, first_late, rng):
            log.write(batch.text)
            counts.update(batch.counts)
            alerts.update(batch.alerts)
            for file in labels:
                file.write(batch.labels)
            advance(batch.num_lines)
    return counts, alerts
