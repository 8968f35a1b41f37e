"""From sorted rows to windows: runs of rows with one key become one row of lists.

Lists are made from the rows' own columns and the places where the key changes, a batch at a time;
no Python object is made for a line.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core import tables

KEY, SPLIT = "key", "split"
ROWS = pa.schema(  # what a query over lines gives, a window's rows together and in log order
    [
        pa.field(SPLIT, pa.int8()),  # place in SPLITS
        pa.field(KEY, pa.int64()),  # tells a split's windows apart
        pa.field("message_id", pa.int32()),
        pa.field("line_number", pa.int64()),
        pa.field("is_alert", pa.bool_()),  # null where lines are not labelled
        pa.field("time", pa.timestamp("us")),
    ]
)
_LATEST, _EARLIEST = np.iinfo(np.int64).max, np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """Whole windows, in order: a row of tables.WINDOWS each (session_id null), and what it was."""

    windows: pa.Table
    splits: NDArray[np.int8]
    keys: NDArray[np.int64]


def assemble(batches: pa.RecordBatchReader, *, has_line_labels: bool) -> Iterator[Runs]:
    """Windows of sorted rows, numbered from 0; a window is never cut between two batches."""
    pending = ROWS.empty_table()
    num_windows = 0
    for batch in batches:
        rows = pa.concat_tables([pending, pa.Table.from_batches([batch]).cast(ROWS)])
        starts = _run_starts(rows)
        last = int(starts[-1]) if len(starts) else 0  # perhaps not whole yet
        pending = rows.slice(last)
        if last:
            yield _runs(rows.slice(0, last), starts[:-1], num_windows, has_line_labels)
            num_windows += len(starts) - 1
    if len(pending):
        yield _runs(pending, _run_starts(pending), num_windows, has_line_labels)


def _run_starts(rows: pa.Table) -> NDArray[np.int64]:
    """Places where a window begins."""
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    keys, splits = rows[KEY].to_numpy(), rows[SPLIT].to_numpy()
    changes = (keys[1:] != keys[:-1]) | (splits[1:] != splits[:-1])
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _runs(rows: pa.Table, starts: NDArray[np.int64], first: int, has_line_labels: bool) -> Runs:
    rows = rows.combine_chunks()
    line_numbers = rows["line_number"].to_numpy()
    is_next = np.ones(len(rows), dtype=bool)  # a line may come again in the next window
    is_next[1:] = line_numbers[1:] > line_numbers[:-1]
    is_next[starts] = True
    assert is_next.all(), "a window's rows came out of log order"
    offsets = pa.array(np.append(starts, len(rows)).astype(np.int32))
    columns = {
        "window_id": np.arange(first, first + len(starts)),
        "session_id": pa.nulls(len(starts), pa.string()),
        "message_ids": _lists(offsets, rows["message_id"]),
        "line_numbers": _lists(offsets, rows["line_number"]),
        "alerts": pa.nulls(len(starts), pa.list_(pa.bool_())),
        "is_anomalous": pa.nulls(len(starts), pa.bool_()),
        **_times(rows["time"], starts),
    }
    if has_line_labels:
        columns["alerts"] = _lists(offsets, rows["is_alert"])
        is_alert = rows["is_alert"].to_numpy(zero_copy_only=False).astype(bool)
        columns["is_anomalous"] = np.logical_or.reduceat(is_alert, starts)
    windows = pa.table([columns[name] for name in tables.WINDOWS.names], schema=tables.WINDOWS)
    return Runs(
        windows=windows,
        splits=rows[SPLIT].to_numpy()[starts],
        keys=rows[KEY].to_numpy()[starts],
    )


def _lists(offsets: pa.Int32Array, values: pa.ChunkedArray) -> pa.ListArray:
    return pa.ListArray.from_arrays(offsets, values.combine_chunks())


def _times(times: pa.ChunkedArray, starts: NDArray[np.int64]) -> dict[str, pa.Array]:
    """First and last known time of each window."""
    is_known = times.is_valid().to_numpy()
    known = times.cast(pa.int64()).fill_null(0).to_numpy()
    first = np.minimum.reduceat(np.where(is_known, known, _LATEST), starts)
    last = np.maximum.reduceat(np.where(is_known, known, _EARLIEST), starts)
    return {
        "start_time": pa.array(first, mask=first == _LATEST).cast(pa.timestamp("us")),
        "end_time": pa.array(last, mask=last == _EARLIEST).cast(pa.timestamp("us")),
    }
