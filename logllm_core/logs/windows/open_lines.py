"""Lines that wait in open windows, column by column, and the rows of windows that close."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core.store.store import Json

NUMBER, TIME, CONTENT, TEXT = "line_number", "time", "content", "text"
IS_ALERT, ARRIVED = "is_alert", "arrived"
FIRST_KEY, LAST_KEY = "first_key", "last_key"  # of the windows by time that a line waits in
DUE_KEY = "due_key"  # of the oldest window with which the first of these closes
SESSION, RANK = "session_id", "rank"  # of the session that a line waits in
UNKNOWN = np.iinfo(np.int64).min  # a time that cannot be read, a key that waits for a time

PENDING_LINES = pa.schema(  # a line comes once for each open session that it names
    [
        pa.field(NUMBER, pa.int64(), nullable=False),
        pa.field(TIME, pa.int64()),  # microseconds since 1970, or UNKNOWN
        pa.field(CONTENT, pa.string()),  # the whole line, while its fields are not known yet
        pa.field(TEXT, pa.string()),
        pa.field(IS_ALERT, pa.bool_()),
        pa.field(FIRST_KEY, pa.int64()),
        pa.field(LAST_KEY, pa.int64()),
        pa.field(SESSION, pa.string()),
        pa.field(DUE_KEY, pa.int64()),
    ]
)
_TYPES: dict[str, type] = {
    NUMBER: np.int64,
    TIME: np.int64,
    CONTENT: object,
    TEXT: object,
    IS_ALERT: np.bool_,
    ARRIVED: np.float64,
    FIRST_KEY: np.int64,
    LAST_KEY: np.int64,
    DUE_KEY: np.int64,
    SESSION: object,
    RANK: np.int64,
}

MAX_LOTS = 64  # of open lines, before they become one

Column = NDArray[Any]
Rows = NDArray[np.int64] | NDArray[np.bool_] | slice


class Lines:
    """Columns of equal length, a row a line; texts are Python's, shared between equal messages."""

    __slots__ = ("_columns",)

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)

    def __len__(self) -> int:
        return len(self._columns[NUMBER])

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    @property
    def names(self) -> Iterable[str]:
        return self._columns

    def take(self, rows: Rows) -> Self:
        return type(self)({name: column[rows] for name, column in self._columns.items()})

    def having(self, **columns: Column | int) -> Self:
        """With these columns besides, or in place of its own; a number stands for all rows."""
        more = {name: np.broadcast_to(column, len(self)) for name, column in columns.items()}
        return type(self)({**self._columns, **more})

    def table(self) -> pa.Table:
        """As in PENDING_LINES, where columns that it has not are null."""
        nulls = {field.name: pa.nulls(len(self), field.type) for field in PENDING_LINES}
        return pa.table({**nulls, **self._columns}).select(PENDING_LINES.names).cast(PENDING_LINES)


def join(several: Sequence[Lines]) -> Lines:
    """Lines one after another, of at least one lot; the columns are the first one's."""
    if len(several) == 1:
        return several[0]
    return Lines(
        {name: np.concatenate([lines[name] for lines in several]) for name in several[0].names}
    )


def no_lines(*more: str) -> Lines:
    names = (NUMBER, TIME, CONTENT, TEXT, IS_ALERT, ARRIVED, *more)
    return Lines({name: np.empty(0, dtype=_TYPES[name]) for name in names})


def from_table(table: pa.Table, *more: str, arrived: float) -> Lines:
    """Lines that `Lines.table` gave."""
    names = (NUMBER, TIME, CONTENT, TEXT, IS_ALERT, *more)
    columns = {name: table[name].to_numpy().astype(_TYPES[name]) for name in names}
    return Lines({**columns, ARRIVED: np.full(len(table), arrived)})


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
    closed = [one for one in several if len(one.starts)] or [nothing()]
    num_rows = np.cumsum([0, *(len(one.lines) for one in closed)])
    return Closed(
        lines=join([one.lines for one in closed]),
        starts=np.concatenate([one.starts + n for one, n in zip(closed, num_rows, strict=False)]),
        num_late_lines=sum(one.num_late_lines for one in several),
        num_lines_ahead=sum(one.num_lines_ahead for one in several),
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

    def table(self) -> pa.Table:
        """The lines of open windows, as in PENDING_LINES."""

    def restore(self, lines: pa.Table, *, arrived: float) -> None:
        """Take such lines back."""
