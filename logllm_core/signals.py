"""Signals that ask for the end, and who is asked meanwhile.

A training notes them at once, and passes them on when a checkpoint is written.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from logllm_core.errors import LogLLMError

SIGNALS = (signal.SIGTERM, signal.SIGINT)
Handler = Callable[[int, FrameType | None], object]


class StoppedError(LogLLMError):
    """The training was asked to stop, and the signal's handlers let the process live."""

    def __init__(self) -> None:
        super().__init__(
            "The training was asked to stop, and did. The same command goes on from the last "
            "checkpoint."
        )


@dataclass(slots=True)
class Interruption:
    """What was asked while the signals were noted."""

    noted: int | None = None
    _before: dict[int, Any] = field(default_factory=dict)

    @property
    def is_noted(self) -> bool:
        return self.noted is not None

    def pass_on(self) -> NoReturn:
        """Give the signal to the handlers that were there before.

        Raises:
            LogLLMError: they let the process live.
        """
        # Another process of the same training may have been asked, not this one.
        self._deliver(self.noted or signal.SIGTERM)
        raise StoppedError

    def end(self) -> None:
        """No signal is swallowed, whatever ended the training before it could be passed on."""
        if self.noted is not None:
            self._deliver(self.noted)
        self._restore()

    def _deliver(self, number: int) -> None:
        self.noted = None
        self._restore()
        signal.raise_signal(number)

    def _restore(self) -> None:
        _give_back(self._before)
        self._before.clear()

    def note(self, number: int, _: FrameType | None) -> None:
        # A second Ctrl-C is a person's, who will not wait. A second SIGTERM means no more than the
        # first: `timeout` sends it to a process and to its group.
        if self.noted == number == signal.SIGINT:
            self._deliver(number)
        else:
            self.noted = self.noted or number

    def watch(self) -> None:
        self._before = _taken_over_by(self.note)


@contextmanager
def noted_interruptions() -> Iterator[Interruption]:
    """Note signals instead of dying of them; only the main thread can."""
    interruption = Interruption()
    interruption.watch()
    try:
        yield interruption
    finally:
        interruption.end()


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """Signals go to `handler` meanwhile; those that are ignored stay so."""
    before = _taken_over_by(handler)
    try:
        yield
    finally:
        _give_back(before)


def _taken_over_by(handler: Handler) -> dict[int, Any]:
    """Who handled them before; only the main thread can take them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {
        number: signal.signal(number, handler)
        for number in SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }


def _give_back(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
