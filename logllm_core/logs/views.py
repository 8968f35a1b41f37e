"""`logllm.duckdb`: views over the newest Parquet of each data set, and nothing else.

The file is built beside its place and renamed, so a reader never waits and never sees half of it.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path

import duckdb

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import DATASET_NAME
from logllm_core.store import Kind, Store

FILE_NAME = "logllm.duckdb"
OLDEST_READER = "storage_version 'v1.4.0'"  # the command line `duckdb` may be an older one
# view -> (kind of artifact, files inside it)
VIEWS: Mapping[str, tuple[Kind, str]] = {
    "messages": ("messages", "messages.parquet"),
    "vocabulary": ("messages", "vocabulary.parquet"),
    "rejects": ("messages", "rejects.parquet"),
    "windows": ("windows", "split=*/*.parquet"),
    "predictions": ("predictions", "split=*/*.parquet"),
}


def refresh_views(store: Store) -> Path:
    """Rebuild the file of views from what the store holds; returns its path."""
    path = store.data_dir / FILE_NAME
    beside = path.with_name(f".{FILE_NAME}.{uuid.uuid4().hex}")
    with duckdb.connect() as connection:
        connection.execute(f"attach {_literal(str(beside))} as made ({OLDEST_READER})")
        for name in _names(store):
            schema = f"made.{_identifier(name)}"
            connection.execute(f"create schema if not exists {schema}")
            for view, (kind, files) in VIEWS.items():
                artifact = store.newest(kind, name)
                if artifact and (paths := sorted(artifact.path.absolute().glob(files))):
                    # Paths, not a pattern: a folder's name may hold its special signs.
                    listed = ", ".join(_literal(str(part)) for part in paths)
                    is_split = str("split=" in files).lower()
                    connection.execute(
                        f"create view {schema}.{view} as select * from"
                        f" read_parquet([{listed}], hive_partitioning = {is_split})"
                    )
    beside.replace(path)
    return path


def query(store: Store, statement: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """Column names and rows that a statement gives over the views.

    Raises:
        LogLLMError: nothing is prepared yet, or DuckDB refuses the statement.
    """
    path = store.data_dir / FILE_NAME
    if not path.is_file():
        raise LogLLMError(f"There is no {path} yet. Prepare a data set first: logllm prepare NAME.")
    try:
        with duckdb.connect(path, read_only=True) as connection:
            result = connection.execute(statement)
            if result is None:
                raise LogLLMError("The query is empty. Give a statement in SQL.")
            return [column[0] for column in result.description or []], result.fetchall()
    except duckdb.Error as fault:
        raise LogLLMError(f"DuckDB refuses the query: {fault}") from None


def _names(store: Store) -> list[str]:
    kinds = {kind for kind, _ in VIEWS.values()}
    folders = (folder for kind in kinds for folder in (store.data_dir / kind).glob("*"))
    return sorted({folder.name for folder in folders if DATASET_NAME.fullmatch(folder.name)})


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A view cannot take parameters, so its path is quoted here."""
    return "'" + text.replace("'", "''") + "'"
