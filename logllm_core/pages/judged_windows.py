"""What was judged of new logs, as values: logs, models, alarms, and how many came when."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from logllm_core.results.shown_windows import ShownLine

DRAWN = timedelta(days=7)  # before the newest verdict; a year of nights would hide the last one


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedCounts:
    """How many windows were judged, and when."""

    num_windows: int
    num_anomalous: int
    start_time: datetime | None  # of the first line; None where lines have no time
    end_time: datetime | None
    first_judged: datetime
    last_judged: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedLog(JudgedCounts):
    """A log; what is None was not counted when it was judged."""

    source: str
    num_lines: int  # up to the last window that was judged
    num_unseen_lines: int | None
    num_compared_lines: int | None  # of which `num_unseen_lines` are
    num_cut_lines: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedModel(JudgedCounts):
    """A model that judged."""

    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedAlarm:
    """A window that was called anomalous, with the lines that carried the verdict."""

    filename: str
    folder: str
    source: str
    window_id: int
    session_id: str | None
    first_line: int
    last_line: int
    num_lines: int
    start_time: datetime | None
    probability: float
    is_anomalous: bool | None  # its label
    judged: datetime
    lines: tuple[ShownLine, ...] = ()
    strongest: ShownLine | None = None

    @property
    def anchor(self) -> int:
        """Stays the window's own while others come."""
        name = f"{self.folder}/{self.window_id}"
        return int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """Windows by the time of their first line, in bars of equal length."""

    first: datetime
    last: datetime
    num_left_out: int  # without a time, or with one far from all others
    num_windows: tuple[int, ...]  # by bar
    num_anomalous: tuple[int, ...]
    num_days: int = DRAWN.days

    @property
    def _width(self) -> timedelta:
        return max(self.last - self.first, timedelta(seconds=1)) / len(self.num_windows)

    def start_of(self, bar: float) -> datetime:
        return self.first + bar * self._width

    def bar_of(self, time: datetime) -> int:
        return min((time - self.first) // self._width, len(self.num_windows) - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedWindows:
    """All that is shown of them."""

    logs: tuple[ListedLog, ...] = ()
    models: tuple[JudgedModel, ...] = ()
    alarms: tuple[ListedAlarm, ...] = ()  # the newest
    bars: Bars | None = None  # None where no window has a time
    num_recent: int = 0
