"""Windows by spans of time, of lines that come bit by bit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import TimeWindows
from logllm_core.logs.windows.open_lines import (
    ARRIVED,
    DUE_KEY,
    FIRST_KEY,
    LAST_KEY,
    TIME,
    UNKNOWN,
    Closed,
    Lines,
    join,
    keep_few,
    no_lines,
    nothing,
    together,
)
from logllm_core.store.store import Json

_MICROSECONDS = 1_000_000
_EVER = np.iinfo(np.int64).max - 1  # later than all keys
_NEVER = -(1 << 62)  # earlier than all times
MAX_LINES_BEHIND = 1_000  # in a row; then it was the clock that was set back, not a line late
MAX_LINES_WITHOUT_TIME = 1_000  # at the log's begin
KEYS = (FIRST_KEY, LAST_KEY, DUE_KEY)

Integers = NDArray[np.int64]


class ByTime:
    """Windows of spans of time, by their keys: window k begins k steps after 1970.

    A window closes when two lines in a row have come whose times are a window's length, or more,
    behind its end. A single one closes nothing: its time may be wrong, as no clock is that the
    next line contradicts. A log that has paused goes on with more than one line, and one that ends
    closes all its windows. So a line whose time is wrong is in a window of its own and
    changes no other, as where by_order.py cuts a whole log: there no window ever closes,
    and the windows are the same.

    What should be in a closed window and comes later is late. It makes a further window of the same
    span, as the lines of a session do that was closed: no verdict is taken back, and no line is put
    among those of another span. A further window closes together with the oldest one that is open
    when it begins, and before it.

    A line whose time cannot be read takes that of the line before it, the first ones the first
    known; it confirms none.
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
        # That two lines in a row have reached, since the clock was last set back.
        self._latest = _NEVER if latest is None else latest
        self._num_behind = num_behind  # lines in a row, up to here, that came after their windows
        self._open: list[Lines] = []

    def push(self, lines: Lines, session_ids: pa.ListArray) -> Closed:
        before = self._last
        if self._last is None:
            no_keys = dict.fromkeys(KEYS, UNKNOWN)
            lines = join([*self._open, lines.having(**no_keys)])
            known = lines[TIME][lines[TIME] != UNKNOWN]
            if not len(known):
                self._hold(lines)
                return nothing()
            self._open, self._last = [], int(known[0])
        previous = _known_before(lines[TIME], before)
        lines = lines.having(**{TIME: _filled(lines[TIME], self._last)})
        closed = []
        while len(lines):
            num_taken, num_late, num_ahead = self._take_in(lines, previous)
            self._last = int(lines[TIME][num_taken - 1])
            up_to = self._last_closed(self._latest)
            if self._num_behind == MAX_LINES_BEHIND:
                self._latest, self._num_behind, up_to = _NEVER, 0, _EVER
            windows = self._close(up_to)
            closed.append(replace(windows, num_late_lines=num_late, num_lines_ahead=num_ahead))
            lines, previous = lines.take(slice(num_taken, None)), previous[num_taken:]
        return together(closed)

    def close(self, *, arrived_by: float, at_most: int) -> Closed:
        if not self._open or self._open[0][ARRIVED][0] > arrived_by:
            return nothing()
        lines = join(self._open)
        has_waited = lines[ARRIVED] <= arrived_by
        closes_with = np.maximum(lines[LAST_KEY], lines[DUE_KEY])
        # A time that is ahead of all that came since may be wrong: it must not close their windows.
        since = closes_with[~has_waited]
        if len(since):
            has_waited &= closes_with <= since.max()
        return self._close(int(closes_with[has_waited].max())) if has_waited.any() else nothing()

    def state(self) -> Json:
        return {"last": self._last, "latest": self._latest, "num_behind": self._num_behind}

    def lines(self) -> Lines:
        return join([no_lines(*KEYS), *self._open])

    def restore(self, lines: Lines) -> None:
        if DUE_KEY not in lines.names:  # lines of before wait for their own windows alone
            lines = lines.having(**{DUE_KEY: lines[FIRST_KEY]})
        self._open = [lines]

    def change(self, changed: Callable[[Lines], Lines]) -> None:
        self._open = [changed(lines) for lines in self._open]

    def _hold(self, lines: Lines) -> None:
        """The first lines wait for the first time that can be read."""
        if len(lines) >= MAX_LINES_WITHOUT_TIME:
            raise LogLLMError(
                f"None of the first {len(lines):,} lines has a time that can be read, but windows "
                "are cut by time. Mend line.time_fields and line.time_format."
            )
        self._open = [lines] if len(lines) else []

    def _take_in(self, lines: Lines, previous: Integers) -> tuple[int, int, int]:
        """Put lines into windows, up to where the clock was set back.

        Args:
            previous: see `_known_before`.

        Returns how many, how many of them were late, and before how many one was far ahead.
        """
        times = lines[TIME]
        reached = np.minimum(previous, times)
        latest = np.maximum.accumulate(np.append(self._latest, reached))
        closed = self._last_closed(latest[:-1])  # when each line came
        is_ahead = self._last_closed(previous) > self._last_closed(latest[1:])  # the one before
        last_keys = times // self._step
        first_keys = last_keys - self._length // self._step + 1
        behind = _run_lengths(last_keys <= closed, self._num_behind)
        set_back = np.flatnonzero(behind == MAX_LINES_BEHIND)
        num_taken = int(set_back[0]) + 1 if len(set_back) else len(lines)
        keys = {
            FIRST_KEY: first_keys,
            LAST_KEY: last_keys,
            DUE_KEY: np.maximum(first_keys, closed + 1),
        }
        self._open.append(lines.having(**keys).take(slice(num_taken)))
        keep_few(self._open)
        self._latest, self._num_behind = int(latest[num_taken]), int(behind[num_taken - 1])
        is_late = first_keys <= closed
        late, ahead = (int(np.count_nonzero(which[:num_taken])) for which in (is_late, is_ahead))
        return num_taken, late, ahead

    def _last_closed(self, latest: Any) -> Any:
        """Key of the last window that has closed when that was the latest time of two lines."""
        return (latest - 2 * self._length) // self._step

    def _close(self, up_to: int) -> Closed:
        """The open windows up to that key, and the further ones that close with them."""
        if all(lines[DUE_KEY].min() > up_to for lines in self._open):
            return nothing()
        lines = join(self._open)
        is_due = lines[DUE_KEY] <= up_to
        rows, starts = _windows_of(lines, np.where(is_due, up_to, _NEVER))
        rest = lines.take((lines[LAST_KEY] > up_to) | ~is_due)
        self._open = []
        if len(rest):
            is_due, first_keys = rest[DUE_KEY] <= up_to, rest[FIRST_KEY]
            keys = {
                FIRST_KEY: np.where(is_due, np.maximum(first_keys, up_to + 1), first_keys),
                DUE_KEY: np.maximum(rest[DUE_KEY], up_to + 1),
            }
            self._open = [rest.having(**keys)]
        return Closed(lines=lines.take(rows), starts=starts)


def _known_before(times: Integers, before: int | None) -> Integers:
    """For each line with a time, that of the last such line before it; where there is none, never.

    Args:
        before: the last known time before all these lines.
    """
    is_known = times != UNKNOWN
    last_known = np.full(len(times), _NEVER)
    last_known[is_known] = np.append(_NEVER if before is None else before, times[is_known])[:-1]
    return last_known


def _filled(times: Integers, last: int) -> Integers:
    """Times, where unknown, of the line before."""
    times = np.append(last, times)
    known = np.maximum.accumulate(np.where(times == UNKNOWN, 0, np.arange(len(times))))
    filled: Integers = times[known][1:]
    return filled


def _run_lengths(is_so: NDArray[np.bool_], num_before: int) -> Integers:
    """How many in a row, up to each, are so; `num_before` were so before the first."""
    numbers = np.arange(len(is_so))
    last_not = np.maximum.accumulate(np.where(is_so, -1 - num_before, numbers))
    lengths: Integers = numbers - last_not
    return lengths


def _windows_of(lines: Lines, up_to: Integers) -> tuple[Integers, Integers]:
    """The rows of the windows that lines are in up to a key each, and where each window begins.

    Windows come in the order in which they close, those that close together by their keys.
    """
    first_keys = lines[FIRST_KEY]
    nums = np.maximum(np.minimum(lines[LAST_KEY], up_to) - first_keys + 1, 0)
    rows = np.repeat(np.arange(len(lines)), nums)
    keys = first_keys[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(nums) - nums, nums)
    closes_with = np.maximum(keys, lines[DUE_KEY][rows])
    order = np.lexsort((keys, closes_with))
    keys, closes_with = keys[order], closes_with[order]
    is_other = (keys[1:] != keys[:-1]) | (closes_with[1:] != closes_with[:-1])
    return rows[order], np.flatnonzero(np.append(True, is_other))
