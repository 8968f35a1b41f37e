"""DuckDB over Parquet in bounded memory: what does not fit is sorted on disk."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from logllm_core.errors import LogLLMError

_GLOB_SIGNS = re.compile(r"[*?\[]")
NUM_THREADS = min(os.cpu_count() or 1, 4)
MEMORY_LIMIT = f"{75 * NUM_THREADS}MB"


@contextmanager
def bounded_connection(
    spill_dir: Path | None = None, *, memory_limit: str = MEMORY_LIMIT
) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory.

    Args:
        spill_dir: what does not fit goes there; a folder of its own where it is not given.
        memory_limit: what fits, as DuckDB writes it.
    """
    with TemporaryDirectory(prefix="logllm-") as folder, duckdb.connect() as connection:
        connection.execute("set temp_directory = ?", [str(spill_dir or folder)])
        connection.execute("set memory_limit = ?", [memory_limit])
        connection.execute("set threads = ?", [NUM_THREADS])
        connection.execute("set enable_progress_bar = false")
        yield connection


def as_it_stands(path: Path) -> str:
    """A path for DuckDB, which would take the signs of a glob in a folder's name for a pattern.

    Raises:
        LogLLMError: DuckDB cannot name this path at all.
    """
    text = str(path)
    if "\\" in text:
        raise LogLLMError(
            f"{text} holds a backslash, which DuckDB reads as a slash. Choose a folder without one."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LogLLMError(
            f"{text!r} is not UTF-8, and DuckDB takes no other path. Rename the folder."
        ) from None
    return _GLOB_SIGNS.sub(r"[\g<0>]", text)


def literal(text: str) -> str:
    """A text in SQL, where DuckDB takes no parameter: in a view, and in ATTACH."""
    return "'" + text.replace("'", "''") + "'"
