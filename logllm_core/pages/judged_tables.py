"""The tables of verdicts about new logs, read for their page."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from logllm_core import tables
from logllm_core.daily.ledger.cursors import Cursor
from logllm_core.errors import LogLLMError
from logllm_core.pages.judged_windows import (
    DRAWN,
    Bars,
    JudgedModel,
    JudgedWindows,
    ListedAlarm,
    ListedLog,
)
from logllm_core.pages.svg import visible
from logllm_core.results.shown_windows import NUM_SHOWN_LINES, ShownLine
from logllm_core.store.database import as_it_stands, bounded_connection

NUM_SHOWN_ALARMS = 500
NUM_SHOWN_NAME_CHARACTERS = 200  # of a path or a session's id
NUM_ROWS_AT_ONCE = 16
NUM_BARS = 96
RECENT = timedelta(days=1)  # before the newest verdict
# A line with a broken clock must not squeeze all others into one bar: beyond so many times the span
# of the middle nine tenths a window is left out of the picture, and counted.
FAR = 50

Row = TypeVar("Row")

# Tables of before lack the column of the last line.
JUDGED = """
    create view judged as from rows join parts using (filename)
    union all by name select null::integer as num_cut_lines where false
"""
FIGURES = """
    count(*) as num_windows,
    count(*) filter (verdict = 'anomalous') as num_anomalous,
    min(start_time) as start_time, max(end_time) as end_time,
    min(judged) as first_judged, max(judged) as last_judged
"""
LOGS = f"""
    select shown_source as source, {FIGURES}, max(last_line) + 1 as num_lines,
        sum(num_unseen_lines)::bigint as num_unseen_lines,
        sum(num_lines) filter (num_unseen_lines is not null)::bigint as num_compared_lines,
        sum(num_cut_lines)::bigint as num_cut_lines
    from judged group by log, shown_source order by last_judged desc, log
"""
MODELS = f"select model, {FIGURES} from judged group by model order by last_judged desc, model"
ALARMS = """
    select filename, folder, shown_source as source, window_id,
        left(session_id, $num_name_characters) as session_id,
        first_line, last_line, num_lines, start_time, probability, is_anomalous, judged
    from judged where verdict = 'anomalous'
    order by judged desc, log, window_id desc limit $num_alarms
"""
RECENT_ALARMS = """
    select count(*) from judged where judged > $since and verdict = 'anomalous'
"""
SPAN = """
    select count(*) as num_windows,
        approx_quantile(epoch_us(start_time), 0.05) as low,
        approx_quantile(epoch_us(start_time), 0.95) as high
    from judged where judged > $since
"""
ENDS = """
    select min(start_time) as first, max(start_time) as last, count(*) as num_windows
    from judged where judged > $since and epoch_us(start_time) between $least and $most
"""
BARS = """
    select least(
            (epoch_us(start_time) - epoch_us($first)) * $num_bars
                // greatest(epoch_us($last) - epoch_us($first), 1_000_000),
            $num_bars - 1
        )::int as bar,
        count(*) as num_windows, count(*) filter (verdict = 'anomalous') as num_anomalous
    from judged where judged > $since and start_time between $first and $last group by bar
"""


class _Span(NamedTuple):
    """Within which times the middle nine tenths of the windows begin, in microseconds."""

    num_windows: int
    low: int | None  # None where no window has a time
    high: int


class _Ends(NamedTuple):
    """The first and the last of the windows that are near the others."""

    first: datetime
    last: datetime
    num_windows: int


class _Bar(NamedTuple):
    bar: int
    num_windows: int
    num_anomalous: int


def read_judged_windows(sources: Sequence[tuple[Path, Cursor]]) -> JudgedWindows:
    """What was judged of the sources, each known by its folder and its cursor.

    Raises:
        LogLLMError: a table is damaged.
    """
    paths, logs = [], []
    for log, (folder, cursor) in enumerate(sources):
        paths += [folder / part.name for part in cursor.parts]
        logs += [log] * len(cursor.parts)
    if not paths:
        return JudgedWindows()
    names = [visible(cursor.source, NUM_SHOWN_NAME_CHARACTERS) for _, cursor in sources]
    parts = pa.table(
        {
            "filename": [str(path) for path in paths],
            "log": pa.array(logs, pa.int32()),
            "folder": [sources[log][0].name for log in logs],
            "shown_source": [names[log] for log in logs],
        }
    )
    with _explained(sources[0][0].parent), bounded_connection() as connection:
        connection.read_parquet(
            [as_it_stands(path) for path in paths],
            filename=True,
            hive_partitioning=False,
            union_by_name=True,
        ).create_view("rows")
        connection.register("parts", parts)
        connection.execute(JUDGED)
        return _read(connection)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as fault:
        raise LogLLMError(
            f"The verdicts below {folder} cannot be read: {fault}. Restore them, or delete the "
            "folder of that log there to have it judged anew."
        ) from fault


def _read(connection: duckdb.DuckDBPyConnection) -> JudgedWindows:
    logs = _rows(connection, LOGS, ListedLog)
    if not logs:
        return JudgedWindows()
    newest = logs[0].last_judged
    recent = connection.execute(RECENT_ALARMS, {"since": newest - RECENT}).fetchone()
    return JudgedWindows(
        logs=tuple(logs),
        models=tuple(_rows(connection, MODELS, JudgedModel)),
        alarms=_alarms(connection),
        bars=_bars(connection, newest - DRAWN),
        num_recent=recent[0] if recent else 0,
    )


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str, make: Callable[..., Row], **values: object
) -> list[Row]:
    """What is made of each row, by the names of its columns."""
    result = connection.execute(query, values)
    names = [column[0] for column in result.description or []]
    return [make(**dict(zip(names, row, strict=True))) for row in result.fetchall()]


def _alarms(connection: duckdb.DuckDBPyConnection) -> tuple[ListedAlarm, ...]:
    alarms = _rows(
        connection,
        ALARMS,
        ListedAlarm,
        num_alarms=NUM_SHOWN_ALARMS,
        num_name_characters=NUM_SHOWN_NAME_CHARACTERS,
    )
    wanted: dict[str, set[int]] = {}
    for alarm in alarms:
        wanted.setdefault(alarm.filename, set()).add(alarm.window_id)
    lines = {path: _lines(path, window_ids) for path, window_ids in wanted.items()}
    return tuple(_with_lines(alarm, lines[alarm.filename][alarm.window_id]) for alarm in alarms)


def _with_lines(alarm: ListedAlarm, lines: Sequence[ShownLine]) -> ListedAlarm:
    return replace(
        alarm,
        lines=tuple(sorted(lines, key=lambda line: line.number)),
        strongest=max(lines, key=lambda line: line.contribution or 0.0, default=None),
    )


def _lines(path: str, wanted: Collection[int]) -> Mapping[int, list[ShownLine]]:
    """What carried these windows, cut: a line may be as long as its writer liked.

    A few rows at a time: DuckDB asks for the memory of thousands, and has too little.
    """
    shown = {}
    with tables.opened(Path(path), buffer_size=1 << 20, pre_buffer=False) as file:
        for batch in file.iter_batches(NUM_ROWS_AT_ONCE, columns=["window_id", "lines"]):
            is_wanted = pc.is_in(batch["window_id"], pa.array(wanted, pa.int64()))
            for row in batch.filter(is_wanted).to_pylist():
                shown[row["window_id"]] = [
                    ShownLine.of(
                        line["line_number"], line["content"], contribution=line["contribution"]
                    )
                    for line in (row["lines"] or [])[:NUM_SHOWN_LINES]
                ]
    return shown


def _bars(connection: duckdb.DuckDBPyConnection, since: datetime) -> Bars | None:
    (span,) = _rows(connection, SPAN, _Span, since=since)
    if span.low is None:
        return None
    reach = FAR * max(span.high - span.low, 60_000_000)  # at least a minute
    (ends,) = _rows(
        connection, ENDS, _Ends, since=since, least=span.low - reach, most=span.high + reach
    )
    num_windows, num_anomalous = [0] * NUM_BARS, [0] * NUM_BARS
    for bar in _rows(
        connection, BARS, _Bar, since=since, first=ends.first, last=ends.last, num_bars=NUM_BARS
    ):
        num_windows[bar.bar] = bar.num_windows
        num_anomalous[bar.bar] = bar.num_anomalous
    return Bars(
        first=ends.first,
        last=ends.last,
        num_left_out=span.num_windows - ends.num_windows,
        num_windows=tuple(num_windows),
        num_anomalous=tuple(num_anomalous),
    )
