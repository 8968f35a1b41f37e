"""Windows by count, time and session of lines that come bit by bit.

Which windows close, and what they hold, follows from the lines alone, not from how they came;
`close` alone looks at the clock.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from logllm_core.logs.catalog.catalog import CountWindows, SessionWindows, TimeWindows
from logllm_core.logs.windows.open_lines import (
    ARRIVED,
    NUMBER,
    RANK,
    SESSION,
    STRINGS,
    Closed,
    Cutter,
    Lines,
    join,
    keep_few,
    no_lines,
    nothing,
)
from logllm_core.logs.windows.open_time_windows import ByTime
from logllm_core.store.store import Json


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
        windows = np.arange(num_windows)
        rows = (windows[:, None] * self._step + np.arange(self._length)).ravel()
        return Closed(lines=lines.take(rows), starts=windows * self._length)

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

    def lines(self) -> Lines:
        return self._open

    def restore(self, lines: Lines) -> None:
        self._open = lines

    def change(self, changed: Callable[[Lines], Lines]) -> None:
        self._open = changed(self._open)


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
        sessions = session_ids.flatten().cast(STRINGS)
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
        return Closed(
            lines=lines, starts=starts, session_ids=lines[SESSION].take(starts).to_pylist()
        )

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

    def lines(self) -> Lines:
        return join([no_lines(SESSION, RANK), self._ended, *self._open])

    def restore(self, lines: Lines) -> None:
        self._take_in(lines)

    def change(self, changed: Callable[[Lines], Lines]) -> None:
        self._ended = changed(self._ended)
        self._open = [changed(lines) for lines in self._open]

    def _take_in(self, lines: Lines) -> None:
        if not len(lines):
            return
        encoded = lines[SESSION].dictionary_encode()
        sessions: list[str] = encoded.dictionary.to_pylist()
        session_of = encoded.indices.to_numpy()
        firsts = np.empty(len(sessions), dtype=np.int64)
        firsts[session_of[::-1]] = lines[NUMBER][::-1]  # assigned backwards, the first one stays
        pairs = zip(firsts.tolist(), sessions, strict=True)
        opened = [pair for pair in pairs if pair[1] not in self._ranks]
        for rank, (_, session) in enumerate(sorted(opened), start=self._num_ranks):
            self._ranks[session] = rank
        self._num_ranks += len(opened)
        for session in sessions:
            self._touched.pop(session, None)
            self._touched[session] = lines[ARRIVED][-1]
        ranks = np.array([self._ranks[session] for session in sessions])
        self._open.append(lines.having(**{RANK: ranks[session_of]}))
        keep_few(self._open)
