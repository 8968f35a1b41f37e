"""Verdicts about made-up new logs, as the loop of detection leaves them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from logllm_core import tables
from logllm_core.daily.ledger.cursors import Cursor, Part, new_dir, write_cursor
from logllm_core.store.store import Store

MODEL = "94f8c6d68ad8b5be"
JUDGED = datetime(2026, 11, 22, 3, 10)
STARTED = datetime(2026, 11, 21, 22, 0)
Row = dict[str, Any]


def judged(window_id: int, *, lines: Sequence[tuple[int, str, float]] = (), **more: Any) -> Row:
    """A window of ten lines; one that `lines` carried is anomalous."""
    return {
        "window_id": window_id,
        "log_id": "0" * 16,
        "session_id": None,
        "source": "app.log",
        "first_line": 10 * window_id,
        "last_line": 10 * window_id + 9,
        "num_lines": 10,
        "num_unseen_lines": 0,
        "num_cut_lines": 0,
        "start_time": STARTED + timedelta(minutes=window_id),
        "end_time": STARTED + timedelta(minutes=window_id, seconds=50),
        "probability": 0.93 if lines else 0.02,
        "verdict": "anomalous" if lines else "normal",
        "is_anomalous": None,
        "lines": [
            {"line_number": number, "content": content, "contribution": contribution}
            for number, content, contribution in lines
        ]
        or None,
        "model": MODEL,
        "judged": JUDGED,
    } | more


def write_source(
    store: Store,
    dataset: str,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    path: str,
    lacking: Sequence[str] = (),
) -> Path:
    """The folder of one source whose rows lie in one table; `lacking`: columns of today."""
    folder = new_dir(store, dataset) / name
    table = pa.Table.from_pylist(list(rows), tables.NEW_PREDICTIONS)
    tables.write(folder / "part-0.parquet", table, tables.NEW_PREDICTIONS)
    if lacking:
        pq.write_table(table.drop_columns(list(lacking)), folder / "part-0.parquet")
    parts = (Part(name="part-0.parquet", num_windows=len(rows)),)
    write_cursor(folder, Cursor(source=path, place={}, state={}, parts=parts))
    return folder
