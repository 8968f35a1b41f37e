"""Windows by count, time and session of lines that come bit by bit.

Which windows close, and what they hold, follows from the lines alone, not from how they came;
`close` alone looks at the clock.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import CountWindows, SessionWindows, TimeWindows
from logllm_core.logs.open_lines import (
    ARRIVED,
    FIRST_KEY,
    LAST_KEY,
    NUMBER,
    RANK,
    SESSION,
    TIME,
    UNKNOWN,
    Closed,
    Cutter,
    Lines,
    from_table,
    join,
    no_lines,
    nothing,
    together,
)
from logllm_core.store import Json

_MICROSECONDS = 1_000_000
_EVER = np.iinfo(np.int64).max - 1  # later than all keys
MAX_LINES_BEHIND = 1_000  # in a row; then it was the clock that was set back, not a line late
MAX_LINES_WITHOUT_TIME = 1_000  # at the log's begin
MAX_LOTS = 64  # of open lines, before they become one

Places = NDArray[np.int64]


def cutter_of(
    windows: CountWindows | TimeWindows | SessionWindows, state: Mapping[str, Json]
) -> Cutter:
    """The cutter of such windows, in such a state."""
    if isinstance(windows, CountWindows):
        return ByCount(windows, **state)
    return ByTime(windows, **state) if isinstance(windows, TimeWindows) else BySession()


class ByCount:
    """Windows of consecutive lines."""

    def __init__(self, windows: CountWindows, *, num_covered: int = 0) -> None:
        self._length = windows.length
        self._step = windows.step or windows.length
        self._open = no_lines()
        self._num_covered = num_covered  # of the open lines: these are in an earlier window, too

    def push(self, lines: Lines, session_ids: pa.ListArray) -> Closed:
        lines = join([self._open, lines])
        num_windows = max(0, (len(lines) - self._length) // self._step + 1)
        if num_windows:
            self._num_covered = self._length - self._step
        self._open = lines.take(slice(num_windows * self._step, None))
        places = np.arange(num_windows)
        rows = (places[:, None] * self._step + np.arange(self._length)).ravel()
        return Closed(lines=lines.take(rows), starts=places * self._length)

    def close(self, *, arrived_by: float, at_most: int) -> Closed:
        """The last window is the first one that reaches the log's end."""
        lines = self._open
        waiting = lines[ARRIVED][self._num_covered :]
        is_due = len(waiting) > 0 and waiting[0] <= arrived_by
        if is_due or arrived_by == np.inf:
            self._open, self._num_covered = no_lines(), 0
        return Closed(lines=lines, starts=np.zeros(1, dtype=np.int64)) if is_due else nothing()

    def state(self) -> Json:
        return {"num_covered": self._num_covered}

    def table(self) -> pa.Table:
        return self._open.table()

    def restore(self, lines: pa.Table, *, arrived: float) -> None:
        self._open = from_table(lines, arrived=arrived)


class ByTime:
    """Windows of spans of time, by their keys: window k begins k steps after 1970.

    A window closes when a line has come whose time is a window's length, or more, behind its end.
    What should be in it and comes later is late; it goes to the oldest window that is still open.
    A line whose time cannot be read takes that of the line before it, the first ones the first
    known.
    """

    def __init__(
        self,
        windows: TimeWindows,
        *,
        last: int | None = None,
        latest: int | None = None,
        num_behind: int = 0,
    ) -> None:
        self._length = windows.length_seconds * _MICROSECONDS
        self._step = (windows.step_seconds or windows.length_seconds) * _MICROSECONDS
        self._last = last  # time of the last line
        self._latest = latest  # of all, since the clock was last set back
        self._num_behind = num_behind  # lines in a row, up to here, that came after their windows
        self._open: list[Lines] = []

    def push(self, lines: Lines, session_ids: pa.ListArray) -> Closed:
        if self._last is None:
            lines = join([*self._open, lines.having(**{FIRST_KEY: UNKNOWN, LAST_KEY: UNKNOWN})])
            known = lines[TIME][lines[TIME] != UNKNOWN]
            if not len(known):
                self._hold(lines)
                return nothing()
            self._open, self._last = [], int(known[0])
        lines = lines.having(**{TIME: _filled(lines[TIME], self._last)})
        closed = []
        while len(lines):
            num_taken, num_late = self._take_in(lines)
            self._last = int(lines[TIME][num_taken - 1])
            up_to = self._last_closed(self._latest)
            if self._num_behind == MAX_LINES_BEHIND:
                self._latest, self._num_behind, up_to = None, 0, _EVER
            closed.append(replace(self._close(up_to), num_late_lines=num_late))
            lines = lines.take(slice(num_taken, None))
        return together(closed)

    def close(self, *, arrived_by: float, at_most: int) -> Closed:
        if not self._open or self._open[0][ARRIVED][0] > arrived_by:
            return nothing()
        lines = join(self._open)
        rows, keys = _places(lines, _EVER)
        return self._close(int(keys[lines[ARRIVED][rows] <= arrived_by].max()))

    def state(self) -> Json:
        return {"last": self._last, "latest": self._latest, "num_behind": self._num_behind}

    def table(self) -> pa.Table:
        return join([no_lines(FIRST_KEY, LAST_KEY), *self._open]).table()

    def restore(self, lines: pa.Table, *, arrived: float) -> None:
        if len(lines):
            self._open = [from_table(lines, FIRST_KEY, LAST_KEY, arrived=arrived)]

    def _hold(self, lines: Lines) -> None:
        """The first lines wait for the first time that can be read."""
        if len(lines) >= MAX_LINES_WITHOUT_TIME:
            raise LogLLMError(
                f"None of the first {len(lines):,} lines has a time that can be read, but windows "
                "are cut by time. Mend line.time_fields and line.time_format."
            )
        self._open = [lines] if len(lines) else []

    def _take_in(self, lines: Lines) -> tuple[int, int]:
        """Put lines into windows, up to where the clock was set back.

        Returns how many, and how many of them were late.
        """
        times = lines[TIME]
        before = times[0] if self._latest is None else self._latest
        latest = np.maximum.accumulate(np.append(before, times))
        closed = self._last_closed(latest[:-1])  # when each line came
        last_keys = times // self._step
        first_keys = last_keys - self._length // self._step + 1
        behind = _run_lengths(last_keys <= closed, self._num_behind)
        set_back = np.flatnonzero(behind == MAX_LINES_BEHIND)
        num_taken = int(set_back[0]) + 1 if len(set_back) else len(lines)
        keys = {
            FIRST_KEY: np.maximum(first_keys, closed + 1),
            LAST_KEY: np.maximum(last_keys, closed + 1),
        }
        self._open.append(lines.having(**keys).take(slice(num_taken)))
        _keep_few(self._open)
        self._latest, self._num_behind = int(latest[num_taken]), int(behind[num_taken - 1])
        return num_taken, int(np.count_nonzero(first_keys[:num_taken] <= closed[:num_taken]))

    def _last_closed(self, latest: Any) -> Any:
        """Key of the last window that has closed when that was the latest time of all lines."""
        return (latest - 2 * self._length) // self._step

    def _close(self, up_to: int) -> Closed:
        """The open windows up to that key."""
        if all(lines[FIRST_KEY].min() > up_to for lines in self._open):
            return nothing()
        lines = join(self._open)
        rows, keys = _places(lines, up_to)
        is_open = lines[LAST_KEY] > up_to
        rest = lines.take(is_open)
        self._open = []
        if len(rest):
            self._open = [rest.having(**{FIRST_KEY: np.maximum(rest[FIRST_KEY], up_to + 1)})]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        return Closed(lines=lines.take(rows), starts=starts)


def _keep_few(lots: list[Lines]) -> None:
    """Lines may come one by one, and wait for long."""
    if len(lots) >= MAX_LOTS:
        lots[:] = [join(lots)]


def _filled(times: Places, last: int) -> Places:
    """Times, where unknown, of the line before."""
    times = np.append(last, times)
    known = np.maximum.accumulate(np.where(times == UNKNOWN, 0, np.arange(len(times))))
    filled: Places = times[known][1:]
    return filled


def _run_lengths(is_so: NDArray[np.bool_], num_before: int) -> Places:
    """How many in a row, up to each, are so; `num_before` were so before the first."""
    places = np.arange(len(is_so))
    last_not = np.maximum.accumulate(np.where(is_so, -1 - num_before, places))
    lengths: Places = places - last_not
    return lengths


def _places(lines: Lines, up_to: int) -> tuple[Places, Places]:
    """The windows up to a key that lines are in, as pairs of row and key, window by window."""
    first_keys = lines[FIRST_KEY]
    nums = np.maximum(np.minimum(lines[LAST_KEY], up_to) - first_keys + 1, 0)
    rows = np.repeat(np.arange(len(lines)), nums)
    keys = first_keys[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(nums) - nums, nums)
    order = np.argsort(keys, kind="stable")
    return rows[order], keys[order]


class BySession:
    """One window a session: the lines that name it until the log ends, or none came for long.

    Windows come in the order of their first lines, those of one line in the order of their ids.
    """

    def __init__(self) -> None:
        self._open: list[Lines] = []
        self._ended = no_lines(SESSION, RANK)  # session by session, and not closed yet
        self._ranks: dict[str, int] = {}  # of open sessions, in the order of their windows
        self._num_ranks = 0
        self._touched: dict[str, float] = {}  # when their newest line arrived, in this order

    def push(self, lines: Lines, session_ids: pa.ListArray) -> Closed:
        nums = session_ids.value_lengths().to_numpy()
        rows = np.repeat(np.arange(len(lines)), nums)
        sessions = session_ids.flatten().to_numpy(zero_copy_only=False)
        self._take_in(lines.take(rows).having(**{SESSION: sessions}))
        num_without = int(np.count_nonzero(nums == 0))
        return replace(nothing(), num_lines_without_session=num_without)

    def close(self, *, arrived_by: float, at_most: int) -> Closed:
        if not len(self._ended):
            self._end(arrived_by)
        lines = self._ended
        starts = np.flatnonzero(np.diff(lines[RANK], prepend=-1))
        stop = starts[at_most] if len(starts) > at_most else len(lines)
        self._ended = lines.take(slice(stop, None))
        lines, starts = lines.take(slice(stop)), starts[:at_most]
        return Closed(lines=lines, starts=starts, session_ids=lines[SESSION][starts].tolist())

    def _end(self, arrived_by: float) -> None:
        ended = []
        for session, arrived in self._touched.items():
            if arrived > arrived_by:
                break
            ended.append(session)
        if not ended:
            return
        ended_ranks = [self._ranks.pop(session) for session in ended]
        for session in ended:
            del self._touched[session]
        lines = join(self._open)
        is_chosen = np.isin(lines[RANK], ended_ranks)
        self._open = [] if is_chosen.all() else [lines.take(~is_chosen)]
        chosen = np.flatnonzero(is_chosen)
        self._ended = lines.take(chosen[np.argsort(lines[RANK][chosen], kind="stable")])

    def state(self) -> Json:
        return {}

    def table(self) -> pa.Table:
        return join([no_lines(SESSION, RANK), self._ended, *self._open]).table()

    def restore(self, lines: pa.Table, *, arrived: float) -> None:
        self._take_in(from_table(lines, SESSION, arrived=arrived))

    def _take_in(self, lines: Lines) -> None:
        if not len(lines):
            return
        encoded = pa.array(lines[SESSION], pa.string()).dictionary_encode()
        sessions: list[str] = encoded.dictionary.to_pylist()
        places = encoded.indices.to_numpy()
        firsts = np.empty(len(sessions), dtype=np.int64)
        firsts[places[::-1]] = lines[NUMBER][::-1]  # assigned backwards, the first one stays
        pairs = zip(firsts.tolist(), sessions, strict=True)
        opened = [pair for pair in pairs if pair[1] not in self._ranks]
        for rank, (_, session) in enumerate(sorted(opened), start=self._num_ranks):
            self._ranks[session] = rank
        self._num_ranks += len(opened)
        for session in sessions:
            self._touched.pop(session, None)
            self._touched[session] = lines[ARRIVED][-1]
        ranks = np.array([self._ranks[session] for session in sessions])
        self._open.append(lines.having(**{RANK: ranks[places]}))
        _keep_few(self._open)
