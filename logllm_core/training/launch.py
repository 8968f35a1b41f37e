"""The processes that train a stage together, one a card: starting, hearing and ending them.

A process that is `alone` needs nothing else. Several are started by `launch`, through torchrun, and
`join`.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from loguru import logger
from torch import Tensor, distributed

from logllm_core import progress
from logllm_core.errors import LogLLMError
from logllm_core.model.devices import devices_of

if TYPE_CHECKING:
    from loguru import Message

Tell = Callable[[dict[str, Any]], None]
ALIVE, EVENTS, OUTPUT = "alive.lock", "events.jsonl", "torchrun.txt"  # in the launch's folder
POLL_SECONDS = 0.1
# So long after a signal torchrun kills what has not ended. Its own 30 s are short for a step and a
# checkpoint; after one worker's failure it gives the others those 30 s in any case.
STOP_SECONDS = 600
SHOWN_BYTES = 64 * 1024
IMPATIENT = 3  # so many Ctrl-C end the waiting


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """The processes that train a stage together, as one of them sees them."""

    rank: int
    num_processes: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, in each of them; all have to ask for it."""
        if self.num_processes == 1:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total)
        return total


def alone() -> Team:
    """This process is all of the team, whatever the environment says of others."""
    (device,) = devices_of(1)
    return Team(rank=0, num_processes=1, device=device)


def join() -> Team:
    """Take this process' place below torchrun, beside the others, once all are there.

    A card each where there are cards (NCCL), else the CPU (Gloo).
    """
    has_card = devices_of(1)[0].type == "cuda"
    distributed.init_process_group("nccl" if has_card else "gloo")
    rank, num_processes = distributed.get_rank(), distributed.get_world_size()
    device = torch.device("cuda", rank) if has_card else torch.device("cpu")
    if has_card:
        torch.cuda.set_device(device)
    else:  # torchrun left one thread to each
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // num_processes))
    return Team(rank=rank, num_processes=num_processes, device=device)


@contextmanager
def worker(folder: Path) -> Iterator[Tell]:
    """A launched process' life, before it joins; what this yields tells `launch` an event.

    It dies with the process that launched it, even one killed with -9. A LogLLMError is told and
    ends it without a traceback; any other exception runs its course. Told to stop (SIGTERM), it has
    to save a checkpoint, tell {"stopped": True} and end in order. `folder`: its first argument.
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

    threading.Thread(target=end_with_launch, daemon=True).start()
    try:
        yield tell
    except LogLLMError as error:
        tell({"error": str(error)})
        os._exit(1)  # an orderly end could wait for the others, who wait for this process
    if distributed.is_initialized():
        distributed.destroy_process_group()


def tell_of_work(tell: Tell) -> None:
    """From now on, log lines and progress are told to whoever launched this process."""
    logger.remove()
    logger.add(lambda message: _tell_log_line(tell, message), level="INFO")
    progress.display.set(progress.TellingDisplay(tell))


def stop_when_told(tell: Tell) -> None:
    """SIGTERM ends this process in order, after a checkpoint where there is something to keep."""

    def stop(*_: object) -> None:
        tell({"stopped": True})
        sys.exit()

    signal.signal(signal.SIGTERM, stop)


def _tell_log_line(tell: Tell, message: "Message") -> None:
    tell({"level": message.record["level"].name, "message": message.record["message"]})


def hear_of_work(event: dict[str, Any], relay: progress.Relay) -> None:
    """Log or show here what `tell_of_work` told."""
    if "level" in event:
        logger.log(event["level"], "{}", event["message"])
    else:
        relay.hear(event)


def launch(module: str, arguments: Sequence[str], *, num_processes: int, on_event: Tell) -> None:
    """Run `module` in `num_processes` processes and return when all have ended in order.

    Its arguments are the launch's own folder, for `worker`, and then `arguments`. What the workers
    tell reaches `on_event`, in order. Called from the main thread, it passes SIGTERM and SIGINT on
    as SIGTERM, waits for the workers to stop, and then gives the signal to whoever handled it
    before; where that returns, so does `launch`, provided that {"stopped": ...} was told.

    Raises:
        LogLLMError: a worker raised one, or the processes failed or were killed.
    """
    with (
        deferred_signals() as signals,
        tempfile.TemporaryDirectory(prefix="logllm-", ignore_cleanup_errors=True) as name,
        Path(name, ALIVE).open("wb") as alive,
        Path(name, OUTPUT).open("wb") as output,
        Path(name, EVENTS).open("w+b") as events,
    ):
        fcntl.flock(alive, fcntl.LOCK_EX)  # by this process alone: torchrun inherits no descriptor
        # A session of its own keeps the terminal's Ctrl-C away, which would leave no time to save.
        with subprocess.Popen(  # noqa: S603
            _command(module, [name, *arguments], num_processes, log_dir=name),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as torchrun:
            try:
                told = _wait(torchrun, events, signals, on_event)
            finally:
                torchrun.kill()  # runs on only after an exception here; its workers lose the lock
        if "error" in told:
            raise LogLLMError(told["error"])
        if torchrun.returncode != 0 and not (signals and "stopped" in told):
            raise LogLLMError(
                f"{num_processes} processes trained together, and "
                f"{_explain(Path(name), torchrun.returncode, signals)}. "
                "Run the same command again: it goes on from the last checkpoint."
            )


def _command(module: str, arguments: Sequence[str], num_processes: int, log_dir: str) -> list[str]:
    # Without --local-addr, torchrun asks the name service for this machine's name, in vain or for
    # seconds on some. Without --log-dir it leaves a folder behind; --redirects=3 keeps there what
    # the workers print, apart from its own tracebacks. It reads $$ in arguments as $.
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"),
        *(f"--nproc-per-node={num_processes}", "--max-restarts=0", "--redirects=3"),
        *(f"--log-dir={log_dir}", f"--shutdown-timeout={STOP_SECONDS}", "-m", module),
        *(argument.replace("$", "$$") for argument in arguments),
    ]


def _wait(
    torchrun: subprocess.Popen[bytes], events: BinaryIO, signals: Sequence[int], on_event: Tell
) -> dict[str, Any]:
    """Pass on events until torchrun has ended; return what decides how `launch` ends."""
    told: dict[str, Any] = {}
    is_stopping = False
    while True:
        is_running = torchrun.poll() is None  # asked first: no event comes after the end
        for event in new_events(events):
            told = event | told if event.keys() & {"error", "stopped"} else told
            if "error" not in event:
                on_event(event)
        if not is_running:
            return told
        if signals and not is_stopping:
            is_stopping = True  # told once: a second signal would cut torchrun's waiting short
            logger.info("Waiting for the training processes to save and stop")
            torchrun.terminate()
        if signals.count(signal.SIGINT) >= IMPATIENT:
            torchrun.kill()
        time.sleep(POLL_SECONDS)


def new_events(events: BinaryIO) -> Iterator[dict[str, Any]]:
    """What was told in this file since it was last asked."""
    while (line := events.readline()).endswith(b"\n"):
        yield json.loads(line)
    events.seek(-len(line), os.SEEK_CUR)  # half a line: still being written, or cut by a kill


def show_end(path: Path) -> None:
    """The end of what a process wrote, on standard error: a traceback may quote log text."""
    text = path.read_bytes()[-SHOWN_BYTES:].decode(errors="replace")
    marks = (m if m.isprintable() or m in "\n\t" else "\N{REPLACEMENT CHARACTER}" for m in text)
    sys.stderr.write("".join(marks))


def _explain(folder: Path, returncode: int, signals: Sequence[int]) -> str:
    """Show what the workers wrote to stderr; say what ended them, by torchrun's summary."""
    for path in sorted(folder.rglob("stderr.log")):  # one a worker
        show_end(path)
    if signals:
        return f"{signal.Signals(signals[0]).name} ended them before they told that they had saved"
    summary = (folder / OUTPUT).read_text(errors="replace")
    codes = [int(code) for code in re.findall(r"exitcode +: (-?\d+) \(pid", summary)]
    if not codes:
        sys.stderr.write(summary)
        return f"torchrun, which ran them, ended with exit code {returncode}"
    # Workers that torchrun ended itself, by SIGTERM, or that missed a killed one are not the cause.
    cause = min((code for code in codes if code != -signal.SIGTERM), default=-signal.SIGTERM)
    if cause > 0:
        return f"one of them failed with exit code {cause}, as printed above"
    reason = " (often: no memory was left)" if cause == -signal.SIGKILL else ""
    return f"one of them was killed by {signal.Signals(-cause).name}{reason}"


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM instead of obeying; afterwards the first gets its usual handling."""
    noted: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()  # no other can take signals
    usual = {
        number: signal.signal(number, lambda caught, _: noted.append(caught))
        for number in (signal.SIGINT, signal.SIGTERM)
        if is_main and signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield noted
    finally:
        for number, handling in usual.items():
            signal.signal(number, handling)
        if noted:
            signal.raise_signal(noted[0])
