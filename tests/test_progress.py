import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from loguru import logger

from logllm_core import progress
from logllm_core.progress import Advance


def test_long_work_is_told_in_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_SECONDS", 0.0)
    lines: list[str] = []
    logger.add(lambda message: lines.append(message.record["message"]))
    with progress.track("Masking", total=2_000, unit="lines") as advance:
        advance(1_500)
        advance(500)
    with progress.track("Reading", unit="lines") as advance:
        advance(7)
    assert lines == [
        "Masking: 1,500 of 2,000 lines, 0 s",
        "Masking: 2,000 of 2,000 lines, 0 s",
        "Reading: 7 lines, 0 s",
    ]


def test_short_work_is_not_told() -> None:
    lines: list[str] = []
    logger.add(lambda message: lines.append(message.record["message"]))
    with progress.track("Masking", total=10, unit="lines") as advance:
        advance(10)
    assert lines == []


class Screen:
    """A display that keeps what it shows, as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def track(
        self, description: str, total: int | None, unit: str
    ) -> AbstractContextManager[Advance]:
        return self._track(description, f"{total} {unit}")

    @contextmanager
    def _track(self, description: str, size: str) -> Iterator[Advance]:
        self.lines.append(f"{description}: {size}")
        try:
            yield lambda amount: self.lines.append(f"{description} +{amount}")
        finally:
            self.lines.append(f"{description} ends")


@contextmanager
def shown_on(display: progress.Display) -> Iterator[None]:
    token = progress.display.set(display)
    try:
        yield
    finally:
        progress.display.reset(token)


def work() -> None:
    """Pieces of work in each other and after each other."""
    with progress.track("Training", total=2, unit="steps") as advance:
        advance(1)
        with progress.track("Scoring", unit="windows") as advance_inner:
            advance_inner(7)
        advance(1)
    with progress.track("Reading", total=None, unit="lines"):
        pass


def test_what_another_process_tells_is_shown_here_as_if_it_were_done_here() -> None:
    told: list[str] = []
    with shown_on(progress.TellingDisplay(lambda event: told.append(json.dumps(event)))):
        work()
    relayed, direct = Screen(), Screen()
    with shown_on(relayed), progress.Relay() as relay:
        for line in told:
            relay.hear(json.loads(line))
    with shown_on(direct):
        work()
    assert relayed.lines == direct.lines
    assert direct.lines == [
        *("Training: 2 steps", "Training +1"),
        *("Scoring: None windows", "Scoring +7", "Scoring ends"),
        *("Training +1", "Training ends", "Reading: None lines", "Reading ends"),
    ]


def test_work_that_fails_elsewhere_is_told_to_have_ended() -> None:
    told: list[dict[str, Any]] = []
    with (
        shown_on(progress.TellingDisplay(told.append)),
        pytest.raises(ZeroDivisionError),
        progress.track("Training", total=2, unit="steps"),
    ):
        raise ZeroDivisionError
    assert told == [
        {"begins": 0, "description": "Training", "total": 2, "unit": "steps"},
        {"ends": 0},
    ]


def test_what_a_killed_process_left_under_way_ends_with_the_relay() -> None:
    screen = Screen()
    with shown_on(screen), progress.Relay() as relay:
        relay.hear({"begins": 0, "description": "Training", "total": 2, "unit": "steps"})
        relay.hear({"begins": 1, "description": "Scoring", "total": 9, "unit": "windows"})
        relay.hear({"advances": 1, "amount": 3})
    assert sorted(screen.lines[-2:]) == ["Scoring ends", "Training ends"]


def test_the_relay_passes_over_what_is_not_progress() -> None:
    with progress.Relay() as relay:
        relay.hear({"level": "INFO", "message": "loaded"})
