"""Windows by count and by time: the first lines train, the last ones test (paper, section V-A).

The split is where a line stands among the kept lines, so that no line is in two splits.
"""

from collections.abc import Mapping

import duckdb

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import CountWindows, Dataset, SessionLabels, TimeWindows
from logllm_core.logs.windows.splits import Cut, split_sizes

# Kept lines in log order, numbered from 0. DuckDB keeps the order of the files it reads.
_PLACED = """
with numbered as (
    select line_number, time, message_id, alert, row_number() over () - 1 as place from messages
),
placed as (
    select
        case when place < $num_train then 0 when place < $num_train_all then 1 else 2 end as split,
        case split when 0 then 0 when 1 then $num_train else $num_train_all end as first_place,
        case split when 0 then $num_train when 1 then $num_train_all else $num_lines end as after,
        message_id, line_number, time, place, alert
    from numbered
)
"""
_COLUMNS = """
    split, {key} as key, message_id, line_number,
    case when $has_labels then alert is not null end as is_alert, time
"""
_ORDERED = " order by split, key, line_number"
# How each kind of window finds the windows (keys) of a line. A key is the number of a window within
# its split, or of a step of time since 1970. Lists of keys are for windows that overlap.
_COUNT = "(place - first_place) // $length"
# The last window is the first one that reaches the split's end.
_COUNT_SLIDING = """unnest(range(
    greatest(place - first_place - $length + $step, 0) // $step,
    least((place - first_place) // $step,
          greatest(after - first_place - $length + $step - 1, 0) // $step) + 1
))"""
_MICROSECONDS = 1_000_000
# DuckDB divides towards zero; before 1970 that would be the next step.
_TIME = "epoch_us(time) // $step - (epoch_us(time) % $step < 0)::int"
_TIME_SLIDING = f"unnest(range({_TIME} - $length // $step + 1, {_TIME} + 1))"
# A line whose time cannot be read takes that of the line before it, the first ones the first known.
_WITH_TIMES = """
create or replace temp view messages as
select * replace (coalesce(
    last_value(time ignore nulls) over (order by line_number),
    (select first(time order by line_number) from lines where time is not null)
) as time)
from lines order by line_number
"""


def cut(connection: duckdb.DuckDBPyConnection, dataset: Dataset, validation_fraction: float) -> Cut:
    """Windows of consecutive lines, or of spans of time; empty spans give none."""
    num_lines = _count(connection, "*")
    sizes = split_sizes(num_lines, dataset.train_fraction, validation_fraction)
    has_labels = dataset.labels is not None and not isinstance(dataset.labels, SessionLabels)
    results = {}
    if isinstance(dataset.windows, TimeWindows):
        results["num_lines_with_guessed_time"] = _guess_times(connection, dataset, num_lines)
    key, is_sorted, lengths = _key(dataset.windows)
    query = f"{_PLACED} select {_COLUMNS.format(key=key)} from placed"
    return Cut(
        query=query if is_sorted else query + _ORDERED,
        parameters={
            "num_train": sizes[0],
            "num_train_all": sizes[0] + sizes[1],
            "num_lines": num_lines,
            "has_labels": has_labels,
            **lengths,
        },
        sizes=sizes,
        has_line_labels=has_labels,
        results=results,
    )


def _key(windows: object) -> tuple[str, bool, Mapping[str, int]]:
    """A line's windows as SQL, whether log order is window order, and the lengths it names."""
    if isinstance(windows, CountWindows):
        if windows.step in (None, windows.length):
            return _COUNT, True, {"length": windows.length}
        return _COUNT_SLIDING, False, {"length": windows.length, "step": windows.step}
    assert isinstance(windows, TimeWindows)
    length = windows.length_seconds * _MICROSECONDS
    if windows.step_seconds in (None, windows.length_seconds):
        return _TIME, False, {"step": length}
    return _TIME_SLIDING, False, {"length": length, "step": windows.step_seconds * _MICROSECONDS}


def _guess_times(connection: duckdb.DuckDBPyConnection, dataset: Dataset, num_lines: int) -> int:
    """Give a time to the lines that have none; returns how many these are."""
    num_missing = num_lines - _count(connection, "time")
    if num_missing == num_lines:
        raise LogLLMError(
            f"{dataset.name}: no line's time can be read, but windows are cut by time. Wanted "
            f"{dataset.line.time_format} in {', '.join(dataset.line.time_fields)}; mend "
            "line.time_format, or cut windows by count."
        )
    if num_missing:
        connection.execute("alter view messages rename to lines")
        connection.execute(_WITH_TIMES)
    return num_missing


def _count(connection: duckdb.DuckDBPyConnection, what: str) -> int:
    return int(connection.execute(f"select count({what}) from messages").fetchall()[0][0])
