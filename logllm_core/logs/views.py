"""`logllm.duckdb`: views over the newest Parquet of each data set, and nothing else.

The file is built beside its place and renamed, so a reader never waits and never sees half of it.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path

import duckdb
from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import DATASET_NAME
from logllm_core.store import Artifact, Kind, Store

FILE_NAME = "logllm.duckdb"
OLDEST_READER = "storage_version 'v1.4.0'"  # the command line `duckdb` may be an older one
# View, kind of artifact, files inside it.
VIEWS: Mapping[str, tuple[Kind, str]] = {
    "messages": ("messages", "messages/*.parquet"),
    "vocabulary": ("messages", "vocabulary.parquet"),
    "rejects": ("messages", "rejects.parquet"),
    "files": ("messages", "files.parquet"),
    "windows": ("windows", "split=*/*.parquet"),
    "predictions": ("predictions", "split=*/*.parquet"),
    "contributions": ("predictions", "contributions/split=*/*.parquet"),
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
            chain = _newest_chain(store, name)
            for view, (kind, files) in VIEWS.items():
                if kind not in chain:
                    continue
                # Paths, not a pattern: a folder's name may hold its special signs.
                paths = sorted(chain[kind].path.absolute().glob(files))
                if not paths:  # the artifact is of an older version
                    continue
                listed = ", ".join(_literal(str(part)) for part in paths)
                is_split = str("split=" in files).lower()
                try:
                    connection.execute(
                        f"create view {schema}.{view} as select * from"
                        f" read_parquet([{listed}], hive_partitioning = {is_split})"
                    )
                except duckdb.Error as fault:  # a damaged file must not stop the others
                    logger.warning("No view {}.{}: {}", name, view, fault)
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


def _newest_chain(store: Store, name: str) -> dict[Kind, Artifact]:
    """The newest messages, windows and predictions that were made from each other."""
    chain: dict[Kind, Artifact] = {}
    windows = store.newest("windows", name)
    if windows is None:
        messages = store.newest("messages", name)
        return {"messages": messages} if messages else {}
    chain["windows"] = windows
    if messages := store.newest("messages", name, windows.manifest["inputs"]["messages"]):
        chain["messages"] = messages
    for predictions in store.all("predictions", name):
        if predictions.manifest["inputs"]["windows"] == windows.fingerprint:
            chain["predictions"] = predictions
            break
    return chain


def _names(store: Store) -> list[str]:
    kinds = {kind for kind, _ in VIEWS.values()}
    folders = (folder for kind in kinds for folder in (store.data_dir / kind).glob("*"))
    return sorted({folder.name for folder in folders if DATASET_NAME.fullmatch(folder.name)})


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A view cannot take parameters, so its path is quoted here."""
    return "'" + text.replace("'", "''") + "'"
