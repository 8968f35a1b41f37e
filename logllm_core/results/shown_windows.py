"""Windows as a page shows them: some lines each, cut where they are long."""

from dataclasses import dataclass
from typing import Literal

NUM_SHOWN_CHARACTERS = 500  # of a line
NUM_SHOWN_LINES = 24  # of a window

# "found" is what the files call an alarm that is right; "passed": normal and not flagged.
WindowKind = Literal["missed", "false alarm", "found", "passed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownLine:
    """A line of the raw log within its window."""

    number: int  # from 0
    content: str
    num_cut_characters: int
    alert: str | None  # the log's own label, cut already
    contribution: float | None  # of its message, in log-odds; None where it was not localized
    is_carrier: bool  # whether its message is one of those that carried the alarm
    num_skipped: int  # lines of the window that are left out before it

    @classmethod
    def of(
        cls,
        number: int,
        content: str,
        *,
        alert: str | None = None,
        contribution: float | None = None,
        is_carrier: bool = False,
        num_skipped: int = 0,
    ) -> "ShownLine":
        """The line, cut where it is long."""
        return cls(
            number=number,
            content=content[:NUM_SHOWN_CHARACTERS],
            num_cut_characters=max(len(content) - NUM_SHOWN_CHARACTERS, 0),
            alert=alert,
            contribution=contribution,
            is_carrier=is_carrier,
            num_skipped=num_skipped,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownWindow:
    """A test window and the lines of it that say most."""

    kind: WindowKind
    probability: float
    window_id: int
    session_id: str | None
    start_time: str | None  # ISO 8601
    alerts: tuple[str, ...]
    num_lines: int
    lines: tuple[ShownLine, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownCounts:
    """How many windows of a kind there are, and how many of them are shown."""

    num_windows: int
    num_shown: int
