"""The tables that pass between the rooms, enforced on write and on read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MESSAGES = pa.schema(
    [
        pa.field("line_number", pa.int64(), nullable=False),  # 0-based, of the raw file
        pa.field("time", pa.timestamp("us")),
        pa.field("content", pa.string(), nullable=False),
        pa.field("message_id", pa.int32(), nullable=False),  # row of the vocabulary
        pa.field("alert", pa.string()),  # null where the line is normal or carries no label
        pa.field("session_ids", pa.list_(pa.string()), nullable=False),
    ]
)
VOCABULARY = pa.schema(
    [
        pa.field("message_id", pa.int32(), nullable=False),  # in order of first appearance
        pa.field("text", pa.string(), nullable=False),  # the masked message
        pa.field("num_lines", pa.int64(), nullable=False),
        pa.field("first_line_number", pa.int64(), nullable=False),
    ]
)
REJECTS = pa.schema(
    [
        pa.field("line_number", pa.int64(), nullable=False),
        pa.field("line", pa.string(), nullable=False),
    ]
)
FILES = pa.schema(
    [
        pa.field("file_number", pa.int32(), nullable=False),
        pa.field("location", pa.string(), nullable=False),
        pa.field("first_line_number", pa.int64(), nullable=False),  # in the numbering of messages
        pa.field("num_lines", pa.int64(), nullable=False),
    ]
)
SESSION_LABELS = pa.schema(
    [
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("is_anomalous", pa.bool_(), nullable=False),
    ]
)
WINDOWS = pa.schema(  # the split is the folder: split=train, split=validation, split=test
    [
        pa.field("window_id", pa.int64()),
        pa.field("session_id", pa.string()),
        pa.field("message_ids", pa.list_(pa.int32())),
        pa.field("line_numbers", pa.list_(pa.int64())),
        pa.field("alerts", pa.list_(pa.bool_())),  # null where only the session is labelled
        pa.field("is_anomalous", pa.bool_()),
        pa.field("start_time", pa.timestamp("us")),
        pa.field("end_time", pa.timestamp("us")),
    ]
)
KNOWN_WINDOWS = (
    pa.schema(  # what is kept of windows that are gone, see daily/champion/fair_windows.py
        [WINDOWS.field(name) for name in ("session_id", "start_time", "end_time")]
    )
)
PREDICTIONS = pa.schema(
    [
        pa.field("window_id", pa.int64(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),  # of "anomalous" against "normal"
        pa.field("verdict", pa.string(), nullable=False),  # "normal" or "anomalous"
        pa.field("is_anomalous", pa.bool_()),  # the label
    ]
)
NEW_PREDICTIONS = pa.schema(  # of windows of new logs, a row a window
    [
        # Unique within the log that was read, from 0, in the order in which the windows closed.
        pa.field("window_id", pa.int64(), nullable=False),
        # The log, whatever its name: the folder of its verdicts, see daily/ledger/cursors.py.
        pa.field("log_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("source", pa.string(), nullable=False),  # the path as given, "-" from a pipe
        pa.field("first_line", pa.int64(), nullable=False),  # 0-based, within the log
        pa.field("last_line", pa.int64(), nullable=False),
        pa.field("num_lines", pa.int32(), nullable=False),
        # Lines whose masked message the training vocabulary lacks; null where that is gone.
        pa.field("num_unseen_lines", pa.int32()),
        # Lines whose masked message is longer than the model reads, so that its end was not judged;
        # null where that was not counted yet.
        pa.field("num_cut_lines", pa.int32()),
        pa.field("start_time", pa.timestamp("us")),
        pa.field("end_time", pa.timestamp("us")),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("is_anomalous", pa.bool_()),  # the label, where the lines carry one
        # What carried the verdict "anomalous", strongest first; null where normal or not localized.
        pa.field(
            "lines",
            pa.list_(
                pa.struct(
                    [
                        pa.field("line_number", pa.int64()),
                        pa.field("content", pa.string()),
                        pa.field("contribution", pa.float64()),
                    ]
                )
            ),
        ),
        pa.field("model", pa.string(), nullable=False),  # fingerprint of the trained stage
        pa.field("judged", pa.timestamp("us"), nullable=False),  # UTC
    ]
)
SCORES = pa.schema(  # of a split's windows by one of the other detectors, a row a window
    [
        pa.field("detector", pa.string(), nullable=False),
        pa.field("window_id", pa.int64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),  # in [0, 1], higher is more anomalous
        pa.field("is_alarm", pa.bool_(), nullable=False),  # by the method's own rule: above .5
    ]
)
CONTRIBUTIONS = pa.schema(  # a row a distinct message of a window whose verdict is "anomalous"
    [
        pa.field("window_id", pa.int64(), nullable=False),
        pa.field("message_id", pa.int32(), nullable=False),
        # In log-odds: how much the message speaks for "anomalous", see scoring/localize.py.
        pa.field("contribution", pa.float64(), nullable=False),
    ]
)

# How all tables are written: a page that lost a bit is noticed when it is read.
PARQUET: Mapping[str, Any] = {"compression": "zstd", "write_page_checksum": True}
LATER = {"num_cut_lines"}  # columns that tables of before lack; they are null there


def write(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Write Parquet; a column that does not fit the schema is our fault and raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.select(schema.names).cast(schema), path, **PARQUET)


def opened(path: Path, **options: Any) -> pq.ParquetFile:
    """A table's file; OSError tells of a page that is not as it was written."""
    return pq.ParquetFile(path, page_checksum_verification=True, **options)


def read(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read one Parquet file or a folder of them, in order of their names."""
    paths = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    # One file at a time: read as a data set, a folder "split=train" would become a column.
    tables = [_read(part, schema, wanted, columns) for part in paths]
    return pa.concat_tables(tables) if tables else wanted.empty_table()


def _read(path: Path, schema: pa.Schema, wanted: pa.Schema, columns: list[str] | None) -> pa.Table:
    with opened(path) as file:
        _check(path, file.schema_arrow, schema)
        table = file.read(columns=columns)
    # Ten thousand small files are read at a time: what fits is not made to fit.
    return table if table.schema.equals(wanted) else _completed(table, wanted).cast(wanted)


def _completed(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """With the columns that came later."""
    for name in LATER.intersection(wanted.names).difference(table.column_names):
        column = wanted.field(name)
        table = table.append_column(column, pa.nulls(len(table), column.type))
    return table.select(wanted.names)


def check(path: Path, schema: pa.Schema) -> None:
    """Assert that a Parquet file has the columns and types of the schema; `LATER` may lack."""
    _check(path, pq.read_schema(path), schema)


def _check(path: Path, actual: pa.Schema, schema: pa.Schema) -> None:
    differing = [field.name for field in schema if not _has(actual, field)]
    assert not differing, f"{path}: columns {differing} are not as in logllm_core/tables.py"


def _has(actual: pa.Schema, wanted: pa.Field) -> bool:
    if wanted.name not in actual.names:
        return wanted.name in LATER
    return _same_type(actual.field(wanted.name).type, wanted.type)


def _same_type(actual: pa.DataType, wanted: pa.DataType) -> bool:
    """Equality that passes over the name Parquet gives to a list's elements."""
    if pa.types.is_list(actual) and pa.types.is_list(wanted):
        return bool(actual.value_type == wanted.value_type)
    return bool(actual == wanted)
