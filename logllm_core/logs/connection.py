"""DuckDB over Parquet in bounded memory: what does not fit is sorted on disk."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

_GLOB_SIGNS = re.compile(r"[*?\[]")
NUM_THREADS = min(os.cpu_count() or 1, 4)
MEMORY_LIMIT = f"{75 * NUM_THREADS}MB"


@contextmanager
def bounded_connection(spill_dir: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory.

    Args:
        spill_dir: what does not fit goes there; a folder of its own where it is not given.
    """
    with TemporaryDirectory(prefix="logllm-") as folder, duckdb.connect() as connection:
        connection.execute("set temp_directory = ?", [str(spill_dir or folder)])
        connection.execute("set memory_limit = ?", [MEMORY_LIMIT])
        connection.execute("set threads = ?", [NUM_THREADS])
        connection.execute("set enable_progress_bar = false")
        yield connection


def as_it_stands(path: Path) -> str:
    """A path for DuckDB, which would take the signs of a glob in a folder's name for a pattern."""
    return _GLOB_SIGNS.sub(r"[\g<0>]", str(path))
