"""What a person sees while a command works, and when they interrupt it."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.run_log import console, log_to_terminal, silence_the_end
from flows.terminal_text import plain
from logllm_core import progress
from logllm_core.signals import handled_by

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
    """Show progress; an interrupt ends the work, and what is finished stays."""
    with _displayed(), ended_by_interrupt(INTERRUPT_SECONDS, _say_the_last_word):
        yield


@contextmanager
def ended_by_interrupt(seconds: float, say: Callable[[], object] = lambda: None) -> Iterator[None]:
    """An interrupt ends what is under way; what is deaf to it ends with the process.

    Args:
        seconds: until then.
        say: says what a person should know, before anything ends.
    """
    status = 0

    def interrupt(number: int, _: object) -> None:
        nonlocal status
        status = 128 + number
        say()
        deadline = threading.Timer(seconds, os._exit, (status,))
        deadline.daemon = True
        deadline.start()
        raise KeyboardInterrupt

    with handled_by(interrupt):
        try:
            yield
        except BaseException:
            if status:  # whatever came of it
                sys.exit(status)
            raise


def _say_the_last_word() -> None:
    """First of all: Prefect misses its temporary server, which was stopped too.

    Half-built artifacts go as the interrupt climbs; then Prefect would wait for its server.
    """
    console.print(INTERRUPTED, highlight=False)
    silence_the_end()


@contextmanager
def shown_until_stopped() -> Iterator[Stopping]:
    """Show progress; the first interrupt asks for an end in good order, the second one ends all."""
    stopping = Stopping()

    def interrupt(number: int, _: object) -> None:
        if stopping():
            raise KeyboardInterrupt
        stopping.status = 128 + number
        console.print(STOPPING, highlight=False)

    with _displayed(), handled_by(interrupt):
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
