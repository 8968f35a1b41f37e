"""How long work tells how far it is, without knowing who watches.

A step says `with track("Masking", unit="lines") as advance:` and calls `advance(n)`. Who shows it
is decided at the edge: bars on a terminal, a log line now and then elsewhere.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, Self

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


class TellingDisplay:
    """Tells another process, where a `Relay` hears it, as JSON."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self._numbers = itertools.count()

    @contextmanager
    def track(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        number = next(self._numbers)
        self._tell({"begins": number, "description": description, "total": total, "unit": unit})
        try:
            yield lambda amount: self._tell({"advances": number, "amount": amount})
        finally:
            self._tell({"ends": number})


class Relay:
    """Shows here what a `TellingDisplay` tells elsewhere."""

    def __init__(self) -> None:
        self._under_way: dict[int, tuple[ExitStack, Advance]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._under_way):
            self.hear({"ends": number})

    def hear(self, event: Mapping[str, Any]) -> None:
        if "begins" in event:
            stack = ExitStack()
            shown = track(event["description"], total=event["total"], unit=event["unit"])
            self._under_way[event["begins"]] = (stack, stack.enter_context(shown))
        elif "advances" in event:
            self._under_way[event["advances"]][1](event["amount"])
        elif "ends" in event:
            self._under_way.pop(event["ends"])[0].close()


_PLAIN: Display = PlainDisplay()  # has no state
display: ContextVar[Display] = ContextVar("display", default=_PLAIN)


def track(
    description: str, *, total: int | None = None, unit: str
) -> AbstractContextManager[Advance]:
    return display.get().track(description, total, unit)
