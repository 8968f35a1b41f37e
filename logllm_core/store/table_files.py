"""The rows of a log as Parquet: row group by row group, and file by file."""

from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from logllm_core import tables

ROW_GROUP_LINES = 1 << 17
ROW_GROUP_BYTES = 32 << 20  # lines may be long
# Small and quick to write: what repeats itself, and what grows from row to row, by the column that
# Parquet makes of it.
REPEATED = {"alert": "alert", "message_ids": "message_ids.list.element"}
GROWING = {
    **{name: name for name in ("line_number", "time", "window_id", "start_time", "end_time")},
    "line_numbers": "line_numbers.list.element",
}


class RowGroups:
    """Writes rows of a schema to one Parquet file, in row groups of so many, or fewer long ones."""

    def __init__(self, path: Path, schema: pa.Schema, *, num_in_group: int | None = None) -> None:
        names = set(schema.names)
        self._writer = pq.ParquetWriter(
            path,
            schema,
            **tables.PARQUET,
            use_dictionary=[column for name, column in REPEATED.items() if name in names],
            column_encoding={
                column: "DELTA_BINARY_PACKED" for name, column in GROWING.items() if name in names
            },
        )
        self._num_in_group = num_in_group or ROW_GROUP_LINES
        self._rows: list[pa.Table] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        if fault is None:
            self._flush()
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Row groups end at the same rows, however many rows come at once."""
        while len(rows):
            fitting = rows.slice(0, self._num_in_group - sum(map(len, self._rows)))
            self._rows.append(fitting)
            rows = rows.slice(len(fitting))
            num_rows = sum(map(len, self._rows))
            num_bytes = sum(table.nbytes for table in self._rows)
            if num_rows == self._num_in_group or num_bytes >= ROW_GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self._rows:
            # In one piece: where the pieces ended, pages would end.
            self._writer.write_table(pa.concat_tables(self._rows).combine_chunks())
            self._rows.clear()


class TableFiles:
    """Writes the rows of a log to files that do not depend on what comes behind them.

    Each file holds an eighth as many rows as are before it. So a log that has grown begins with the
    same files as before, all but the last one, and one of terabytes still has few of them.

    Args:
        stem: of the files' names, in one folder with those of other logs.
        num_first: rows of the first files.
        num_in_group: rows of a row group; None: ROW_GROUP_LINES.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        *,
        num_first: int,
        num_in_group: int | None = None,
        stem: str = "part",
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._schema, self._stem, self._num_first = folder, schema, stem, num_first
        self._num_in_group = num_in_group
        self._num_rows = self._num_files = 0
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        self._open.__exit__(fault)

    def write(self, rows: pa.Table) -> None:
        while len(rows):
            if not self._num_free:
                self._open.__exit__(None)
                self._begin()
            fitting = rows.slice(0, self._num_free)
            self._open.write(fitting)
            self._num_rows += len(fitting)
            self._num_free -= len(fitting)
            rows = rows.slice(len(fitting))

    def _begin(self) -> None:
        path = self._folder / f"{self._stem}-{self._num_files:04d}.parquet"
        self._open = RowGroups(path, self._schema, num_in_group=self._num_in_group)
        self._num_free = max(self._num_first, self._num_rows // 8)
        self._num_files += 1
