"""Signals that ask a training to stop: noted at once, passed on when a checkpoint is written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from logllm_core.errors import LogLLMError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


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
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def note(self, number: int, _: FrameType | None) -> None:
        # A second Ctrl-C is a person's, who will not wait. A second SIGTERM means no more than the
        # first: `timeout` sends it to a process and to its group.
        if self.noted == number == signal.SIGINT:
            self._deliver(number)
        else:
            self.noted = self.noted or number

    def watch(self) -> None:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self.note)


@contextmanager
def noted_interruptions() -> Iterator[Interruption]:
    """Note signals instead of dying of them; only the main thread can."""
    interruption = Interruption()
    if threading.current_thread() is threading.main_thread():
        interruption.watch()
    try:
        yield interruption
    finally:
        interruption.end()
