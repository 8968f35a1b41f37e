"""Signals that ask a training to stop: noted at once, passed on when a checkpoint is written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from logllm_core.errors import LogLLMError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class Interruption:
    """What was asked while the signals were noted."""

    noted: int | None = None
    _before: dict[int, Any] = field(default_factory=dict)

    @property
    def is_noted(self) -> bool:
        return self.noted is not None

    def pass_on(self) -> None:
        """Give the signal to the handlers that were there before.

        Raises:
            LogLLMError: they let the process live.
        """
        self.restore()
        # Another process of the same training may have been asked, not this one.
        signal.raise_signal(self.noted or signal.SIGTERM)
        raise LogLLMError(
            "The training was asked to stop, and did after a checkpoint. The same command goes on "
            "from there."
        )

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def note(self, number: int, _: FrameType | None) -> None:
        if self.is_noted:  # asked twice: at once
            self.restore()
            signal.raise_signal(number)
        self.noted = number

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
        interruption.restore()
