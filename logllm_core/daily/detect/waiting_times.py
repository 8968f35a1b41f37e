"""How long open windows wait, and how often to do what is done now and then beside the work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from logllm_core.logs.catalog.catalog import Dataset, TimeWindows

PATIENCE_SECONDS = 10.0
INTERVAL_SECONDS, MAX_SHARE = 10.0, 0.05  # so seldom, and so little of the time
MAX_INTERVAL_SECONDS = 300.0  # views must not name tables for longer than merged ones are kept


class Pace:
    """When to do again what is done now and then: the slower it is, the more seldom."""

    def __init__(self) -> None:
        self._ended = time.monotonic()
        self._seconds = 0.0

    @property
    def is_due(self) -> bool:
        waited = time.monotonic() - self._ended
        wanted = min(self._seconds / MAX_SHARE, MAX_INTERVAL_SECONDS)
        return waited >= max(INTERVAL_SECONDS, wanted)

    @contextmanager
    def timed(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._seconds = self._ended - began


def patience(dataset: Dataset) -> float:
    """How long a window of a log that grows waits for its lines if nobody says otherwise: seconds.

    A window by time has its time, and then as long as others.
    """
    windows = dataset.windows
    length_seconds = windows.length_seconds if isinstance(windows, TimeWindows) else 0
    return PATIENCE_SECONDS + length_seconds
