"""The processes of a service on this machine, found by a mark in their environment.

A child inherits the mark. So what is ours is found after a crash too, and nothing else is ever
ended. Linux, for /proc.
"""

import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "LOGLLM_SERVICE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One of ours; its role is the server's or a queue's."""

    pid: int
    parent: int
    role: str
    is_run: bool  # works on a run of a flow, or for one that does


def mark(home_dir: Path, role: str) -> dict[str, str]:
    """The variable that makes a process one of ours."""
    return {MARK: f"{home_dir.resolve()}:{role}"}


def processes_of(home_dir: Path) -> list[Process]:
    """Whatever carries the mark of this folder."""
    prefix = f"{MARK}={home_dir.resolve()}:".encode()
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            status = (folder / "stat").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        for role in (v.removeprefix(prefix).decode() for v in variables if v.startswith(prefix)):
            processes.append(
                Process(
                    pid=int(folder.name),
                    parent=int(status.rpartition(b")")[2].split()[1]),
                    role=role,
                    is_run=any(v.startswith(b"PREFECT__FLOW_RUN_ID=") for v in variables),
                )
            )
    return processes


def topmost(processes: Sequence[Process]) -> list[Process]:
    """Those that no other of them has started."""
    pids = {process.pid for process in processes}
    return [process for process in processes if process.parent not in pids]


def send(number: signal.Signals, processes: Iterable[Process]) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue
