"""From sorted rows to windows: runs of rows with one key become one window, a batch at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core.logs.windows.message_windows import window_table

KEY, SPLIT = "key", "split"
ROWS = pa.schema(  # what a query over lines gives, a window's rows together and in log order
    [
        pa.field(SPLIT, pa.int8()),  # number in SPLITS
        pa.field(KEY, pa.int64()),  # tells a split's windows apart
        pa.field("message_id", pa.int32()),
        pa.field("line_number", pa.int64()),
        pa.field("is_alert", pa.bool_()),  # null where lines are not labelled
        pa.field("time", pa.timestamp("us")),
    ]
)


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


def _runs(rows: pa.Table, starts: NDArray[np.int64], first: int, has_labels: bool) -> Runs:
    return Runs(
        windows=window_table(rows, starts, first_id=first, has_labels=has_labels),
        splits=rows[SPLIT].to_numpy()[starts],
        keys=rows[KEY].to_numpy()[starts],
    )
