"""Verdicts of logs in which nothing is new, told again.

Ten thousand logs have ten thousand small tables, and each takes a millisecond to open: they are
read many at a time. Where one of them is damaged, each log is read by itself.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa

from logllm_core import tables
from logllm_core.daily.ledger.cursors import Cursor
from logllm_core.daily.ledger.ledger import written
from logllm_core.daily.ledger.log_faults import Faults, UnreadableError
from logllm_core.store.database import as_it_stands, bounded_connection
from logllm_core.store.intact_files import sha256_of

NUM_LOGS = 500  # at a time
NUM_WINDOWS = 10_000  # at a time, unless one log has more


class Retelling:
    """Tells logs in the order in which they are added.

    Args:
        tell: is given tables as of `tables.NEW_PREDICTIONS`.
        faults: get those of logs whose verdicts are damaged, by the paths of these logs.
    """

    def __init__(self, tell: Callable[[pa.Table], object], faults: Faults) -> None:
        self._tell = tell
        self._faults = faults
        self._logs: list[tuple[str, Path, Cursor]] = []
        self._num_windows = 0

    def add(self, path: str, folder: Path, cursor: Cursor) -> None:
        """A log that stands at `path` now, and whose verdicts lie in a folder."""
        if self._num_windows + cursor.num_windows > NUM_WINDOWS or len(self._logs) == NUM_LOGS:
            self.flush()
        self._logs.append((path, folder, cursor))
        self._num_windows += cursor.num_windows

    def flush(self) -> None:
        """Tell those that were added; before anything else is told."""
        logs, self._logs, self._num_windows = self._logs, [], 0
        if len(logs) > 1 and (together := _read_together(logs)) is not None:
            self._tell(together)
            return
        for path, folder, cursor in logs:
            try:
                for table in written(folder, cursor):
                    self._tell(table)
            except UnreadableError as fault:
                self._faults.begin(path, fault)


def _read_together(logs: list[tuple[str, Path, Cursor]]) -> pa.Table | None:
    """None where something is damaged, or of a version that lacks a column."""
    parts = [
        (folder / part.name, part.sha256) for _, folder, cursor in logs for part in cursor.parts
    ]
    if not parts:
        return tables.NEW_PREDICTIONS.empty_table()
    try:
        # DuckDB does not look at the checksums of pages.
        if any(sha256 is None or sha256_of(path) != sha256 for path, sha256 in parts):
            return None
        with bounded_connection() as connection:
            rows = connection.read_parquet([as_it_stands(path) for path, _ in parts])
            return (
                rows.to_arrow_table()
                .select(tables.NEW_PREDICTIONS.names)
                .cast(tables.NEW_PREDICTIONS)
            )
    except (OSError, pa.ArrowException, duckdb.Error, KeyError):
        return None
