"""How long work tells how far it is, without knowing who watches.

A step says `with track("Masking", unit="lines") as advance:` and calls `advance(n)`. Who shows it
is decided at the edge: bars on a terminal, a log line now and then elsewhere.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

from loguru import logger

Advance = Callable[[int], None]
PLAIN_INTERVAL_SECONDS = 15.0


class Display(Protocol):
    """Shows one piece of work at a time."""

    def track(
        self, description: str, total: int | None, unit: str
    ) -> AbstractContextManager[Advance]: ...


class PlainDisplay:
    """A log line every quarter of a minute, none for short work."""

    @contextmanager
    def track(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        done = 0
        started = last = time.monotonic()

        def advance(amount: int) -> None:
            nonlocal done, last
            done += amount
            now = time.monotonic()
            if now - last >= PLAIN_INTERVAL_SECONDS:
                last = now
                of_total = f" of {total:,}" if total else ""
                logger.info(
                    "{}: {:,}{} {}, {:.0f} s", description, done, of_total, unit, now - started
                )

        yield advance


_PLAIN: Display = PlainDisplay()  # has no state
display: ContextVar[Display] = ContextVar("display", default=_PLAIN)


def track(
    description: str, *, total: int | None = None, unit: str
) -> AbstractContextManager[Advance]:
    return display.get().track(description, total, unit)
