"""`logllm.duckdb`: views over the newest Parquet of each data set, and nothing else.

The file is replaced by a rename, so a reader never waits and never sees half of it. Its paths are
absolute, so that `duckdb` may open it from any folder; it tells for which folder it was made.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import duckdb
from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.query.statements import check_reading
from logllm_core.query.view_sources import create_views, dataset_folders
from logllm_core.store.database import as_it_stands, bounded_connection, literal
from logllm_core.store.disk import whole_file, writable
from logllm_core.store.store import Store

T = TypeVar("T")

FILE_NAME = "logllm.duckdb"
DATABASE = "logllm"  # as DuckDB itself calls that file
OLDEST_READER = "storage_version 'v1.4.0'"  # the command line `duckdb` may be an older one
MADE_FOR = "main.made_for"
QUERY_MEMORY = "1GB"
BATCH_ROWS = 1_000
# In this order: the folders that may be read can only be named before.
LOCKS = (
    "autoload_known_extensions = false",
    "autoinstall_known_extensions = false",
    "enable_external_access = false",
    "lock_configuration = true",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a query gives, read as it is asked for."""

    columns: tuple[str, ...]
    batches: Iterator[list[tuple[object, ...]]]  # of rows, BATCH_ROWS at most


def refresh_views(store: Store) -> Path:
    """Rebuild the file of views from what the store holds; returns its path.

    Raises:
        LogLLMError: the folder cannot be written, or DuckDB cannot name it; the file stays as it
            was.
    """
    store = _placed(store)
    path = store.data_dir / FILE_NAME
    if path.is_dir():
        raise LogLLMError(f"{path} is a folder, but that is the file of views. Remove the folder.")
    # Made elsewhere: DuckDB cannot write where a folder's name holds a question mark.
    with writable(store.data_dir), TemporaryDirectory(prefix="logllm-") as folder:
        _write_views(store, Path(folder, FILE_NAME))
        with whole_file(path) as beside:
            shutil.copyfile(Path(folder, FILE_NAME), beside)
            # Of someone who wrote into the file and was killed: it does not fit the new one.
            path.with_name(f"{FILE_NAME}.wal").unlink(missing_ok=True)
    return path


def _write_views(store: Store, path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"attach {literal(str(path))} as made ({OLDEST_READER})")
        folder = literal(str(store.data_dir))
        connection.execute(f"create view made.{MADE_FOR} as select {folder} as data_dir")
        create_views(connection, "made", store)
        connection.execute("checkpoint made")  # closing would not say that it failed


def query(store: Store, statement: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """Column names and all rows at once. Raises as `answering` does."""
    with answering(store, statement) as answer:
        return list(answer.columns), [row for batch in answer.batches for row in batch]


@contextmanager
def answering(store: Store, statement: str) -> Iterator[Answer]:
    """What a reading statement gives over the views; nothing but the data folder can be read.

    An interrupt ends it at once, whatever DuckDB is at.

    Raises:
        LogLLMError: nothing is prepared yet, the statement does not only read, or DuckDB refuses
            it; the last also while the batches are read.
    """
    with _explained(), _opened(_placed(store)) as connection, ThreadPoolExecutor(1) as worker:
        check_reading(connection, statement)
        _awaited(worker.submit(connection.execute, statement), connection)

        def next_batch() -> list[tuple[object, ...]]:
            return _awaited(worker.submit(connection.fetchmany, BATCH_ROWS), connection)

        yield Answer(
            columns=tuple(column[0] for column in connection.description or ()),
            batches=iter(next_batch, []),
        )


def _awaited(work: Future[T], connection: duckdb.DuckDBPyConnection) -> T:
    """What comes of it; done in a thread, as DuckDB looks for no signal while it computes."""
    try:
        return work.result()
    except KeyboardInterrupt:
        connection.interrupt()
        raise


@contextmanager
def _opened(store: Store) -> Iterator[duckdb.DuckDBPyConnection]:
    """The views of this folder, where nothing outside of it can be read and nothing be changed."""
    with bounded_connection(memory_limit=QUERY_MEMORY) as connection:
        if not _attach(connection, store):
            connection.execute(f"attach ':memory:' as {DATABASE}")
            create_views(connection, DATABASE, store)
        connection.execute(f"use {DATABASE}")
        connection.execute("detach memory")  # a data set may be called so
        folders = [str(store.data_dir), as_it_stands(store.data_dir)]
        connection.execute("set allowed_directories = ?", [folders])
        for lock in LOCKS:
            connection.execute(f"set {lock}")
        yield connection


def _attach(connection: duckdb.DuckDBPyConnection, store: Store) -> bool:
    """Whether the file of views could be opened, and is of this folder."""
    path = store.data_dir / FILE_NAME
    if not path.exists():
        if not dataset_folders(store):
            raise LogLLMError(
                f"There is no {path} yet. Prepare a data set first: logllm prepare NAME."
            )
        return False
    try:
        connection.execute(f"attach {literal(str(path))} as {DATABASE} (read_only)")
        row = connection.execute(f"from {DATABASE}.{MADE_FOR}").fetchone()
        if row == (str(store.data_dir),):
            return True
        fault = f"it was made for {row and row[0]}"
    except duckdb.CatalogException:
        fault = "an earlier version made it"
    except duckdb.Error as refusal:  # someone writes into it, was killed while writing, or worse
        fault = str(refusal).partition("\n")[0]
    connection.execute(f"detach database if exists {DATABASE}")
    logger.warning(
        "{} is not used: {}. The query is answered from the newest artifacts of {}, and the next "
        "flow there makes the file anew.",
        *(path, fault, store.data_dir),
    )
    return False


@contextmanager
def _explained() -> Iterator[None]:
    """DuckDB's refusals as errors of the user."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise LogLLMError(
            f"The query needs more than the {QUERY_MEMORY} of memory that it may take. Ask for "
            f"less, or ask DuckDB itself: duckdb -readonly {FILE_NAME}"
        ) from None
    except (duckdb.Error, OverflowError, UnicodeEncodeError) as fault:
        raise LogLLMError(f"DuckDB refuses the query: {fault}") from None


def _placed(store: Store) -> Store:
    """The same store, of the folder that it really is."""
    folder = store.data_dir.resolve()
    as_it_stands(folder)
    return replace(store, data_dir=folder)
