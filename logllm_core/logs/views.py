"""`logllm.duckdb`: views over the newest Parquet of each data set, and nothing else.

The file is built beside its place and renamed, so a reader never waits and never sees half of it.
"""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
from loguru import logger

from logllm_core.disk import writable
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import DATASET_NAME
from logllm_core.logs.connection import as_it_stands
from logllm_core.logs.cursors import new_parts
from logllm_core.store import Artifact, Kind, Store

FILE_NAME = "logllm.duckdb"
OLDEST_READER = "storage_version 'v1.4.0'"  # the command line `duckdb` may be an older one
NEW = "new"  # the split of predictions about logs that came after the training
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
    """Rebuild the file of views from what the store holds; returns its path.

    Raises:
        LogLLMError: the folder cannot be written; the file stays as it was.
    """
    path = store.data_dir / FILE_NAME
    beside = path.with_name(f".{FILE_NAME}.{uuid.uuid4().hex}")
    try:
        with writable(store.data_dir):
            _write_views(store, beside)
            beside.replace(path)
    finally:
        for leftover in (beside, beside.with_name(f"{beside.name}.wal")):
            leftover.unlink(missing_ok=True)
    return path


def _write_views(store: Store, path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"attach {_literal(str(path))} as made ({OLDEST_READER})")
        for name in _names(store):
            schema = f"made.{_identifier(name)}"
            connection.execute(f"create schema if not exists {schema}")
            for view, sources in _selections(store, name).items():
                try:
                    connection.execute(
                        f"create view {schema}.{view} as {' union all by name '.join(sources)}"
                    )
                except duckdb.Error as fault:  # a damaged file must not stop the others
                    logger.warning("No view {}.{}: {}", name, view, fault)
        connection.execute("checkpoint made")  # closing would not say that it failed


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


def _selections(store: Store, name: str) -> dict[str, list[str]]:
    """Of each view the selections that it puts one below the other."""
    chain = _newest_chain(store, name)
    found: dict[str, list[str]] = {}
    for view, (kind, files) in VIEWS.items():
        paths = sorted(chain[kind].path.absolute().glob(files)) if kind in chain else []
        if paths:  # the artifact may be of an older version
            found[view] = [_selection("*", paths, is_split="split=" in files)]
    if scores := _newest_scores(store, name, chain):
        found["scores"] = [_selection("*", scores, is_split=True)]
    try:
        parts = [path.absolute() for path in new_parts(store, name)]
    except LogLLMError as fault:  # nor must a damaged cursor
        logger.warning("No new logs in {}.predictions: {}", name, fault)
        parts = []
    if parts:
        columns = f"*, {_literal(NEW)} as split"
        found.setdefault("predictions", []).append(
            _selection(columns, parts, is_split=False, has_grown=True)
        )
    return found


def _selection(
    columns: str, paths: Sequence[Path], *, is_split: bool, has_grown: bool = False
) -> str:
    """`has_grown`: older ones of these files may lack columns that came later."""
    listed = ", ".join(_literal(as_it_stands(path)) for path in paths)
    options = f"hive_partitioning = {str(is_split).lower()}, union_by_name = {has_grown}"
    return f"select {columns} from read_parquet([{listed}], {options})"


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


def _newest_scores(store: Store, name: str, chain: Mapping[Kind, Artifact]) -> list[Path]:
    """Of each other detector the scores that were asked for last, of the newest windows."""
    newest: dict[str, Artifact] = {}
    for scores in store.all("detectors", name) if "windows" in chain else ():
        manifest = scores.manifest
        if manifest["inputs"]["windows"] == chain["windows"].fingerprint:
            newest.setdefault(manifest["config"]["method"], scores)
    return [
        path
        for method in sorted(newest)
        for path in sorted(newest[method].path.absolute().glob("split=*/*.parquet"))
    ]


def _names(store: Store) -> list[str]:
    kinds = {kind for kind, _ in VIEWS.values()}
    folders = (folder for kind in kinds for folder in (store.data_dir / kind).glob("*"))
    return sorted({folder.name for folder in folders if DATASET_NAME.fullmatch(folder.name)})


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A view cannot take parameters, so its path is quoted here."""
    return "'" + text.replace("'", "''") + "'"
