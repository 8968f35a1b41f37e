"""What a person sees while a command works, and when they interrupt it."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.run_log import console, log_to_terminal, silence_the_end
from flows.showing import plain
from logllm_core import progress

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
INTERRUPT_SECONDS = 3.0
INTERRUPTED = "Interrupted. What was finished is kept; the same command goes on from there."
STOPPING = "Finishing what was read. Interrupt again to stop at once; no window is lost either way."


class BarDisplay:
    """Progress bars on a terminal, one for each piece of work that is under way."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._num_running = 0
        self._lock = threading.Lock()

    @contextmanager
    def track(self, description: str, total: int | None, unit: str) -> Iterator[progress.Advance]:
        with self._lock:
            self._num_running += 1
            self._bars.start()
        bar = self._bars.add_task(plain(description), total=total, unit=unit)  # names a file
        try:
            yield lambda amount: self._bars.advance(bar, amount)
        finally:
            self._bars.remove_task(bar)
            with self._lock:
                self._num_running -= 1
                if self._num_running == 0:
                    self._bars.stop()


class Stopping:
    """Whether a person asked for the end, and with which exit status that ends."""

    def __init__(self) -> None:
        self.status = 0

    def __call__(self) -> bool:
        return self.status != 0


@contextmanager
def shown_progress() -> Iterator[None]:
    status = 0

    def interrupt(number: int, _: object) -> None:
        """Say the last word first: Prefect misses its temporary server, which was stopped too."""
        nonlocal status
        status = 128 + number
        console.print(INTERRUPTED, highlight=False)
        silence_the_end()
        # Half-built artifacts go as the interrupt climbs; then Prefect would wait for its server.
        deadline = threading.Timer(INTERRUPT_SECONDS, os._exit, (status,))
        deadline.daemon = True
        deadline.start()
        raise KeyboardInterrupt

    with _displayed(), _heard(interrupt):
        try:
            yield
        except BaseException:
            if status:  # whatever came of it
                sys.exit(status)
            raise


@contextmanager
def shown_until_stopped() -> Iterator[Stopping]:
    """Show progress; the first interrupt asks for an end in good order, the second one ends all."""
    stopping = Stopping()

    def interrupt(number: int, _: object) -> None:
        if stopping():
            raise KeyboardInterrupt
        stopping.status = 128 + number
        console.print(STOPPING, highlight=False)

    with _displayed(), _heard(interrupt):
        try:
            yield stopping
        except KeyboardInterrupt:
            sys.exit(stopping.status)


@contextmanager
def _displayed() -> Iterator[None]:
    log_to_terminal()
    display: progress.Display = (
        BarDisplay(console) if console.is_terminal else progress.PlainDisplay()
    )
    token = progress.display.set(display)
    try:
        yield
    finally:
        progress.display.reset(token)


@contextmanager
def _heard(interrupt: Callable[[int, object], None]) -> Iterator[None]:
    before = {number: signal.signal(number, interrupt) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
