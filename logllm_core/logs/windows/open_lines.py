"""Lines that wait in open windows, column by column, and the rows of windows that close.

A line's message is the id of its masked text; texts are told apart from ids where lines are kept
on the disk alone, as ids are the stream's own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from logllm_core.store.store import Json

NUMBER, TIME, CONTENT, TEXT = "line_number", "time", "content", "text"
MESSAGE, IS_ALERT, ARRIVED = "message_id", "is_alert", "arrived"
FIRST_KEY, LAST_KEY = "first_key", "last_key"  # of the windows by time that a line waits in
DUE_KEY = "due_key"  # of the oldest window with which the first of these closes
SESSION, RANK = "session_id", "rank"  # of the session that a line waits in
UNKNOWN = np.iinfo(np.int64).min  # a time that cannot be read, a key that waits for a time
STRINGS = pa.large_string()  # open sessions may hold more than 2 GB

PENDING_LINES = pa.schema(  # a line comes once for each open session that it names
    [
        pa.field(NUMBER, pa.int64(), nullable=False),
        pa.field(TIME, pa.int64()),  # microseconds since 1970, or UNKNOWN
        pa.field(CONTENT, STRINGS),  # the whole line, while its fields are not known yet
        pa.field(TEXT, STRINGS),
        pa.field(IS_ALERT, pa.bool_()),
        pa.field(FIRST_KEY, pa.int64()),
        pa.field(LAST_KEY, pa.int64()),
        pa.field(SESSION, STRINGS),
        pa.field(DUE_KEY, pa.int64()),
    ]
)
_TYPES: dict[str, type] = {  # of the columns that NumPy holds; the others are Arrow's strings
    NUMBER: np.int64,
    TIME: np.int64,
    MESSAGE: np.int32,
    IS_ALERT: np.bool_,
    ARRIVED: np.float64,
    FIRST_KEY: np.int64,
    LAST_KEY: np.int64,
    DUE_KEY: np.int64,
    RANK: np.int64,
}
ALL = (NUMBER, TIME, CONTENT, MESSAGE, IS_ALERT, ARRIVED)  # columns of all lines
MAX_LOTS = 64  # of open lines, before they become one

Column: TypeAlias = Any  # NumPy's, or Arrow's strings
Rows = NDArray[np.int64] | NDArray[np.bool_] | slice


class Lines:
    """Columns of equal length, a row a line."""

    __slots__ = ("_columns",)

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)

    def __len__(self) -> int:
        return len(self._columns[NUMBER])

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]

    @property
    def names(self) -> Iterable[str]:
        return self._columns

    def take(self, rows: Rows) -> Self:
        return type(self)({name: _taken(column, rows) for name, column in self._columns.items()})

    def having(self, **columns: Column | int) -> Self:
        """With these columns besides, or in place of its own; a number stands for all rows."""
        more = {
            name: np.broadcast_to(column, len(self)) if name in _TYPES else column
            for name, column in columns.items()
        }
        return type(self)({**self._columns, **more})

    def table(self, texts: Sequence[str] = ()) -> pa.Table:
        """As in PENDING_LINES, where columns that it has not are null.

        Args:
            texts: masked messages, by their ids.
        """
        columns: dict[str, Any] = {f.name: pa.nulls(len(self), f.type) for f in PENDING_LINES}
        if MESSAGE in self._columns:
            columns[TEXT] = texts_of_lines(self[MESSAGE], texts).cast(STRINGS)
        columns |= {name: self[name] for name in columns if name in self._columns}
        return pa.table(columns).cast(PENDING_LINES)


def _taken(column: Column, rows: Rows) -> Column:
    if isinstance(column, np.ndarray):
        return column[rows]
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(len(column))
        return column.slice(start, max(stop - start, 0))
    return column.filter(pa.array(rows)) if rows.dtype == np.bool_ else column.take(pa.array(rows))


def join(several: Sequence[Lines]) -> Lines:
    """Lines one after another, of at least one lot; the columns are the first one's."""
    if len(several) == 1:
        return several[0]
    columns = {name: [lines[name] for lines in several] for name in several[0].names}
    return Lines(
        {
            name: np.concatenate(parts) if name in _TYPES else pa.concat_arrays(parts)
            for name, parts in columns.items()
        }
    )


def no_lines(*more: str) -> Lines:
    return Lines(
        {
            name: np.empty(0, dtype=_TYPES[name]) if name in _TYPES else pa.array([], STRINGS)
            for name in (*ALL, *more)
        }
    )


def from_table(table: pa.Table, message_ids: NDArray[np.int32], *, arrived: float) -> Lines:
    """Lines that `Lines.table` gave, with the columns that were theirs.

    Args:
        message_ids: of their texts.
        arrived: when they count as having come.
    """
    columns: dict[str, Column] = {
        MESSAGE: message_ids,
        ARRIVED: np.full(len(table), arrived),
    }
    for name in table.column_names:
        if name != TEXT and table[name].null_count < len(table):
            is_number = name in _TYPES
            columns[name] = (
                table[name].to_numpy().astype(_TYPES[name])
                if is_number
                else pc.cast(table[name], STRINGS).combine_chunks()
            )
    return Lines(columns)


def texts_of_lines(message_ids: NDArray[np.int32], texts: Sequence[str]) -> pa.DictionaryArray:
    """Each line's masked message, of messages by their ids."""
    distinct, row_of = np.unique(message_ids, return_inverse=True)
    used = pa.array([texts[message] for message in distinct.tolist()], STRINGS)
    return pa.DictionaryArray.from_arrays(row_of.astype(np.int32), used)


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """Windows that closed: stretches of rows, in the order of the windows."""

    lines: Lines
    starts: NDArray[np.int64]  # where each window's rows begin
    session_ids: list[str] | None = None
    num_late_lines: int = 0
    num_lines_ahead: int = 0
    num_lines_without_session: int = 0


def nothing() -> Closed:
    return Closed(lines=no_lines(), starts=np.empty(0, dtype=np.int64))


def together(several: Sequence[Closed]) -> Closed:
    """Windows that closed one after another."""
    closed = [some for some in several if len(some.starts)] or [nothing()]
    num_rows = np.cumsum([0, *(len(some.lines) for some in closed)])
    return Closed(
        lines=join([some.lines for some in closed]),
        starts=np.concatenate(
            [some.starts + before for some, before in zip(closed, num_rows, strict=False)]
        ),
        num_late_lines=sum(some.num_late_lines for some in several),
        num_lines_ahead=sum(some.num_lines_ahead for some in several),
    )


def keep_few(lots: list[Lines]) -> None:
    """Lines may come one by one, and wait for long."""
    if len(lots) >= MAX_LOTS:
        lots[:] = [join(lots)]


class Cutter(Protocol):
    """One way of cutting windows, with the lines of those that are open."""

    def push(self, lines: Lines, session_ids: pa.ListArray) -> Closed:
        """The windows that these lines close."""

    def close(self, *, arrived_by: float, at_most: int) -> Closed:
        """The open windows that have waited since then; of sessions, at most so many."""

    def state(self) -> Json:
        """What is to be known beside the lines."""

    def lines(self) -> Lines:
        """The lines of open windows."""

    def restore(self, lines: Lines) -> None:
        """Take such lines back; there are some."""

    def change(self, changed: Callable[[Lines], Lines]) -> None:
        """Put others, with other columns, in place of the open lines, as they wait."""
