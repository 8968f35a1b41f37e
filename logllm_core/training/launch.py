"""Processes that are started here to train: hearing, stopping and ending them.

A launched process has a folder with its order, a file that it tells events in, and a lock that the
process which started it holds for as long as it lives.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from loguru import logger

from logllm_core import progress
from logllm_core.errors import LogLLMError
from logllm_core.signals import Interruption, StoppedError, noted_interruptions

if TYPE_CHECKING:
    from loguru import Message

Tell = Callable[[dict[str, Any]], None]
# In the folder.
ORDER, ALIVE, EVENTS, OUTPUT = "order.json", "alive.lock", "events.jsonl", "output.txt"
ENDINGS = {"results", "error", "stopped"}  # events that say how a process ended
POLL_SECONDS = 0.1
# So long after a signal torchrun kills what has not ended. Its own 30 s are short for a step and a
# checkpoint; after one worker's failure it gives the others those 30 s in any case.
STOP_SECONDS = 600
SHOWN_BYTES = 64 * 1024


@contextmanager
def worker(folder: Path) -> Iterator[Tell]:
    """A launched process' life; what this yields tells whoever launched it an event.

    It dies with the process that launched it, even one killed with -9. A LogLLMError is told and
    ends it without a traceback; any other exception runs its course. SIGTERM ends it in order,
    after a checkpoint where there is something to keep.
    """
    alive = os.open(folder / ALIVE, os.O_RDONLY)

    def end_with_launch() -> None:
        fcntl.flock(alive, fcntl.LOCK_SH)  # the kernel drops the launch's lock with its process
        shutil.rmtree(folder, ignore_errors=True)  # nobody else is left to do so
        os._exit(1)

    def tell(event: dict[str, Any]) -> None:
        # Opened to append and written at once: the lines of several processes do not mix.
        with (folder / EVENTS).open("ab", buffering=0) as events:
            events.write(json.dumps(event).encode() + b"\n")

    def stop(*_: object) -> None:
        tell({"stopped": True})
        sys.exit()

    threading.Thread(target=end_with_launch, daemon=True).start()
    logger.remove()
    signal.signal(signal.SIGTERM, stop)
    try:
        yield tell
    except LogLLMError as error:
        tell({"error": str(error)})
        os._exit(1)  # an orderly end could wait for the others, who wait for this process


def tell_of_work(tell: Tell) -> None:
    """From now on, log lines and progress are told to whoever launched this process."""
    logger.add(lambda message: _tell_log_line(tell, message), level="INFO")
    progress.display.set(progress.TellingDisplay(tell))


def _tell_log_line(tell: Tell, message: "Message") -> None:
    tell({"level": message.record["level"].name, "message": message.record["message"]})


def hear_of_work(event: dict[str, Any], relay: progress.Relay) -> None:
    """Log or show here what `tell_of_work` told."""
    if "level" in event:
        logger.log(event["level"], "{}", event["message"])
    else:
        relay.hear(event)


@dataclass(kw_only=True, slots=True)
class Launched:
    """A process that was started here."""

    name: str  # for log lines
    folder: Path
    process: subprocess.Popen[bytes]
    events: BinaryIO
    hear: Tell
    is_stopping: bool = False
    ending: dict[str, Any] = field(default_factory=dict)  # what it told of how it ended

    def has_ended(self) -> bool:
        """Pass on what it told since this was last asked."""
        has_ended = self.process.poll() is not None  # asked first: no event comes after the end
        for event in _new_events(self.events):
            if event.keys() & ENDINGS:
                self.ending = event | self.ending
            else:
                self.hear(event)
        return has_ended

    def heed(self, interruption: Interruption) -> None:
        """Ask it once to save and stop, where this process was asked to."""
        if interruption.is_noted and not self.is_stopping:
            self.is_stopping = True  # a second signal would cut its saving short
            logger.info("Waiting for {} to save and stop", self.name)
            self.process.terminate()


@contextmanager
def started(
    name: str, command: Callable[[str], Sequence[str]], order: bytes, *, hear: Tell
) -> Iterator[Launched]:
    """A process that ends with this context at the latest.

    Args:
        name: for log lines.
        command: to run, given the process' folder.
        order: what the process reads there, as JSON.
        hear: gets what the process tells, in order, but for how it ended.
    """
    with (
        tempfile.TemporaryDirectory(prefix="logllm-", ignore_cleanup_errors=True) as folder,
        Path(folder, ALIVE).open("wb") as alive,
        Path(folder, OUTPUT).open("wb") as output,
        Path(folder, EVENTS).open("w+b") as events,
    ):
        Path(folder, ORDER).write_bytes(order)
        fcntl.flock(alive, fcntl.LOCK_EX)  # by this process alone: no other inherits the descriptor
        # A session of its own keeps the terminal's Ctrl-C away, which would leave no time to save.
        with subprocess.Popen(  # noqa: S603
            command(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            launched = Launched(
                name=name, folder=Path(folder), process=process, events=events, hear=hear
            )
            try:
                yield launched
            finally:
                process.kill()  # runs on only after an exception here; torchrun's lose the lock


def run_together(module: str, order: bytes, *, num_processes: int, hear: Tell) -> Any:
    """Run `module` in so many processes; returns the results that one told, once all have ended.

    Called from the main thread, it passes SIGTERM and SIGINT on as SIGTERM, waits for the processes
    to save and stop, and then gives the signal to whoever handled it before. A second Ctrl-C ends
    the waiting.

    Raises:
        LogLLMError: a process raised one, or failed, or was killed; or they were asked to stop, and
            who handles that let this process live.
    """

    def torchrun(folder: str) -> Sequence[str]:
        # Without --local-addr, torchrun asks the name service for this machine's name, in vain or
        # for seconds on some. Without --log-dir it leaves a folder behind; --redirects=3 keeps
        # there what the workers print, apart from its own tracebacks. It reads $$ as $.
        return [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--local-addr=127.0.0.1", f"--nproc-per-node={num_processes}", "--max-restarts=0"),
            *("--redirects=3", f"--log-dir={folder}", f"--shutdown-timeout={STOP_SECONDS}"),
            *("-m", module, folder.replace("$", "$$")),
        ]

    with (
        noted_interruptions() as interruption,
        started("the training processes", torchrun, order, hear=hear) as launched,
    ):
        while not launched.has_ended():
            launched.heed(interruption)
            time.sleep(POLL_SECONDS)
        _check(launched, num_processes)
    if "results" not in launched.ending:  # they were asked to stop, through here or themselves
        raise StoppedError
    return launched.ending["results"]


def _check(torchrun: Launched, num_processes: int) -> None:
    """Raises as `run_together`."""
    if "error" in torchrun.ending:
        raise LogLLMError(torchrun.ending["error"])
    if torchrun.process.returncode and not (torchrun.is_stopping and "stopped" in torchrun.ending):
        raise LogLLMError(
            f"{num_processes} processes trained together, and {_cause(torchrun)}. "
            "Run the same command again: it goes on from the last checkpoint."
        )


def _new_events(events: BinaryIO) -> Iterator[dict[str, Any]]:
    """What was told in this file since it was last asked."""
    while (line := events.readline()).endswith(b"\n"):
        yield json.loads(line)
    events.seek(-len(line), os.SEEK_CUR)  # half a line: still being written, or cut by a kill


def show_end(path: Path) -> None:
    """The end of what a process wrote, on standard error: a traceback may quote log text."""
    text = path.read_bytes()[-SHOWN_BYTES:].decode(errors="replace")
    marks = (m if m.isprintable() or m in "\n\t" else "\N{REPLACEMENT CHARACTER}" for m in text)
    sys.stderr.write("".join(marks))


def killed_by(code: int) -> str:
    """What a negative exit code says."""
    reason = " (often: no memory was left)" if code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{reason}"


def _cause(torchrun: Launched) -> str:
    """Show what the workers wrote to stderr; say what ended them, by torchrun's summary."""
    for path in sorted(torchrun.folder.rglob("stderr.log")):  # one a worker
        show_end(path)
    if torchrun.is_stopping:
        return "SIGTERM ended them before they told that they had saved"
    summary = (torchrun.folder / OUTPUT).read_text(errors="replace")
    codes = [int(code) for code in re.findall(r"exitcode +: (-?\d+) \(pid", summary)]
    if not codes:
        sys.stderr.write(summary)
        return f"torchrun, which ran them, ended with exit code {torchrun.process.returncode}"
    # Workers that torchrun ended itself, by SIGTERM, or that missed a killed one are not the cause.
    cause = min((code for code in codes if code != -signal.SIGTERM), default=-signal.SIGTERM)
    if cause > 0:
        return f"one of them failed with exit code {cause}, as printed above"
    return f"one of them {killed_by(cause)}"
