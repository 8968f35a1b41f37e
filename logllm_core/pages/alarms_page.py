"""The page of alarms: what was found in new logs, newest first."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from loguru import logger

from logllm_core import tables
from logllm_core.daily.ledger.cursors import cursors, new_dir
from logllm_core.errors import LogLLMError
from logllm_core.pages.html import NUM_SHOWN_LINES, render_page, shown_line, tinted
from logllm_core.pages.svg import visible
from logllm_core.pages.timeline import alarms_over_time
from logllm_core.store.database import as_it_stands, bounded_connection
from logllm_core.store.disk import replace_file, writable
from logllm_core.store.store import Store

PAGE = "page.html"
NUM_SHOWN_ALARMS = 500
NUM_SHOWN_LOGS = 200
NUM_SHOWN_NAME_CHARACTERS = 200  # of a path or a session's id
NUM_ROWS_AT_ONCE = 16
NUM_BARS = 96
RECENT = timedelta(days=1)  # before the newest verdict
DRAWN = timedelta(days=7)  # likewise; a year of nights would hide the last one
# A line with a broken clock must not squeeze all others into one bar: beyond so many times the span
# of the middle nine tenths a window is left out of the picture, and counted.
FAR = 50

SUMMED = (
    *("num_windows", "num_anomalous", "num_lines"),
    *("num_unseen_lines", "num_compared_lines", "num_cut_lines"),
)
Row = dict[str, Any]

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
    select log, {FIGURES}, max(last_line) + 1 as num_lines,
        sum(num_unseen_lines)::bigint as num_unseen_lines,
        sum(num_lines) filter (num_unseen_lines is not null)::bigint as num_compared_lines,
        sum(num_cut_lines)::bigint as num_cut_lines
    from judged group by log order by last_judged desc, log
"""
MODELS = f"select model, {FIGURES} from judged group by model order by last_judged desc, model"
ALARMS = """
    select filename, log, window_id, left(session_id, $num_name_characters) as session_id,
        first_line, last_line, num_lines, start_time, probability, is_anomalous, judged
    from judged where verdict = 'anomalous'
    order by judged desc, log, window_id desc limit $num_alarms
"""
RECENT_ALARMS = """
    select count(*) as num_windows from judged where judged > $since and verdict = 'anomalous'
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


def write_page(store: Store, dataset: str) -> Path:
    """Write `predictions/<data set>/new/page.html` from the tables that count; returns its path.

    Raises:
        LogLLMError: a table or a source's cursor is damaged, or the page cannot be written.
    """
    path = new_dir(store, dataset) / PAGE
    content, pictures = _content(store, dataset)
    html = render_page("alarms.html.j2", content, pictures)
    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, html.encode())
    logger.info(
        "{}: {:,} of {:,} windows of new logs are anomalous; see {}",
        dataset,
        content["num_anomalous"],
        content["num_windows"],
        path,
    )
    return path


def _content(store: Store, dataset: str) -> tuple[Row, Mapping[str, str]]:
    """What the page tells, and its picture where windows have times."""
    found = list(cursors(store, dataset))
    parts = {
        str(folder / part.name): log
        for log, (folder, cursor) in enumerate(found)
        for part in cursor.parts
    }
    told: Row = {"logs": [], "models": [], "alarms": [], "drawn": None, "num_recent": 0}
    if parts:
        with _explained(new_dir(store, dataset)), bounded_connection() as connection:
            _view(connection, parts)
            told |= _told(connection)
    logs, alarms, drawn = told["logs"], told.pop("alarms"), told["drawn"]
    names = [visible(cursor.source, NUM_SHOWN_NAME_CHARACTERS) for _, cursor in found]
    for row in (*logs, *alarms):
        row["source"] = names[row["log"]]
    for alarm in alarms:  # the anchor stays the window's own while others come
        own = f"{found[alarm['log']][0].name}/{alarm['window_id']}"
        alarm["anchor"] = int(hashlib.sha256(own.encode()).hexdigest()[:12], 16)
    content = {
        **told,
        "dataset": dataset,
        **{name: sum(log[name] or 0 for log in logs) for name in SUMMED},
        "num_logs": len(logs),
        "logs": logs[:NUM_SHOWN_LOGS],
        "groups": _by_day(alarms),
        "num_alarms": len(alarms),
        "sources": sorted(Counter(alarm["source"] for alarm in alarms).items()),
    }
    return content, {"alarms": alarms_over_time(drawn, alarms)} if drawn else {}


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as fault:
        raise LogLLMError(
            f"The verdicts below {folder} cannot be read: {fault}. Restore them, or delete the "
            "folder of that log there to have it judged anew."
        ) from fault


def _view(connection: duckdb.DuckDBPyConnection, parts: Mapping[str, int]) -> None:
    """`judged`: the rows of all parts, each with the number of its log."""
    paths = list(parts)
    patterns = [as_it_stands(Path(path)) for path in paths]
    connection.read_parquet(
        patterns, filename=True, hive_partitioning=False, union_by_name=True
    ).create_view("rows")
    of_log = pa.table({"filename": paths, "log": pa.array(parts.values(), pa.int32())})
    connection.register("parts", of_log)
    connection.execute(JUDGED)


def _told(connection: duckdb.DuckDBPyConnection) -> Row:
    logs = _rows(connection, LOGS)
    if not logs:
        return {}
    newest = logs[0]["last_judged"]
    (recent,) = _rows(connection, RECENT_ALARMS, since=newest - RECENT)
    return {
        "logs": logs,
        "models": _rows(connection, MODELS),
        "alarms": _alarms(connection),
        "drawn": _bars(connection, newest - DRAWN),
        "num_recent": recent["num_windows"],
    }


def _rows(connection: duckdb.DuckDBPyConnection, query: str, **values: object) -> list[Row]:
    result = connection.execute(query, values)
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _alarms(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The newest anomalous windows, as the template shows them."""
    rows = _rows(
        connection,
        ALARMS,
        num_alarms=NUM_SHOWN_ALARMS,
        num_name_characters=NUM_SHOWN_NAME_CHARACTERS,
    )
    wanted: dict[str, set[int]] = {}
    for row in rows:
        wanted.setdefault(row["filename"], set()).add(row["window_id"])
    found = {path: _lines(path, own) for path, own in wanted.items()}
    alarms = []
    for row in rows:
        lines = found[row["filename"]][row["window_id"]]
        strongest = max(lines, key=lambda line: line["contribution"], default=None)
        ordered = sorted(lines, key=lambda line: line["number"])
        alarms.append({**tinted({**row, "lines": ordered}), "strongest": strongest})
    return alarms


def _lines(path: str, wanted: Collection[int]) -> dict[int, list[Row]]:
    """What carried these windows, cut: a line may be as long as its writer liked.

    A few rows at a time: DuckDB asks for the memory of thousands, and has too little.
    """
    found = {}
    with tables.opened(Path(path), buffer_size=1 << 20, pre_buffer=False) as file:
        for batch in file.iter_batches(NUM_ROWS_AT_ONCE, columns=["window_id", "lines"]):
            is_wanted = pc.is_in(batch["window_id"], pa.array(wanted, pa.int64()))
            for row in batch.filter(is_wanted).to_pylist():
                lines = (row["lines"] or [])[:NUM_SHOWN_LINES]
                found[row["window_id"]] = [
                    shown_line(
                        line["line_number"],
                        line["content"],
                        None,
                        contribution=line["contribution"],
                        is_carrier=False,
                        num_skipped=0,
                    )
                    for line in lines
                ]
    return found


def _bars(connection: duckdb.DuckDBPyConnection, since: datetime) -> Row | None:
    """Windows by the time of their first line, in bars of equal length; None without times."""
    (span,) = _rows(connection, SPAN, since=since)
    if span["low"] is None:
        return None
    reach = FAR * max(span["high"] - span["low"], 60_000_000)  # at least a minute, in microseconds
    (ends,) = _rows(
        connection, ENDS, since=since, least=span["low"] - reach, most=span["high"] + reach
    )
    first, last = ends["first"], ends["last"]
    bars = _rows(connection, BARS, since=since, first=first, last=last, num_bars=NUM_BARS)
    counts = {name: [0] * NUM_BARS for name in ("num_windows", "num_anomalous")}
    for bar in bars:
        for name, values in counts.items():
            values[bar["bar"]] = bar[name]
    return {
        "first": first,
        "last": last,
        "num_days": DRAWN.days,
        "num_left_out": span["num_windows"] - ends["num_windows"],
        **counts,
    }


def _by_day(alarms: Sequence[Row]) -> list[Row]:
    """Alarms by the day on which they were judged, in their order."""
    return [
        {"day": f"{day:%Y-%m-%d}", "windows": list(own)}
        for day, own in groupby(alarms, key=lambda alarm: alarm["judged"].date())
    ]
