"""What each view of a data set selects: the newest artifacts that were made from each other."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
from loguru import logger

from logllm_core.daily.ledger.cursors import new_parts
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import DATASET_NAME
from logllm_core.store.database import as_it_stands, literal
from logllm_core.store.manifest import MANIFEST
from logllm_core.store.store import Artifact, Kind, Store

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


def create_views(connection: duckdb.DuckDBPyConnection, database: str, store: Store) -> None:
    """Make a schema of views for each data set.

    Args:
        connection: has the database, which is empty.
        database: its name there.
        store: of an absolute folder.

    What is damaged is logged, and stops its own data set alone.
    """
    for name in dataset_folders(store):
        try:
            if not DATASET_NAME.fullmatch(name):
                raise LogLLMError("that is no data set's name.")
            selections = _selections(store, name)
            schema = f"{database}.{_identifier(name)}"
            connection.execute(f"create schema if not exists {schema}")
        except (LogLLMError, OSError, RecursionError, duckdb.Error) as fault:
            logger.warning("No views of {!r}: {}", name, fault)
            continue
        for view, sources in selections.items():
            try:
                connection.execute(
                    f"create view {schema}.{view} as {' union all by name '.join(sources)}"
                )
            except duckdb.Error as fault:
                logger.warning("No view {}.{}: {}", name, view, fault)


def dataset_folders(store: Store) -> list[str]:
    """The names of those that may have something to show."""
    kinds = {kind for kind, _ in VIEWS.values()}
    return sorted(
        {folder.name for kind in kinds for folder in (store.data_dir / kind).glob("[!.]*/")}
    )


def _selections(store: Store, name: str) -> dict[str, list[str]]:
    """Of each view the selections that it puts one below the other."""
    chain = _newest_chain(store, name)
    by_view: dict[str, list[str]] = {}
    for view, (kind, files) in VIEWS.items():
        paths = sorted(chain[kind].path.glob(files)) if kind in chain else []
        if paths:  # the artifact may be of an older version
            by_view[view] = [_selection("*", paths, is_split="split=" in files)]
    if scores := _newest_scores(store, name, chain):
        by_view["scores"] = [_selection("*", scores, is_split=True)]
    try:
        parts = new_parts(store, name)
    except (LogLLMError, OSError, TypeError) as fault:  # a damaged cursor stops only what is new
        logger.warning("No new logs in {}.predictions: {}", name, fault)
        parts = []
    if parts:
        columns = f"*, {literal(NEW)} as split"
        by_view.setdefault("predictions", []).append(
            _selection(columns, parts, is_split=False, has_grown=True)
        )
    return by_view


def _selection(
    columns: str, paths: Sequence[Path], *, is_split: bool, has_grown: bool = False
) -> str:
    """`has_grown`: older ones of these files may lack columns that came later."""
    listed = ", ".join(literal(as_it_stands(path)) for path in paths)
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
    if messages := store.newest("messages", name, _manifest_entry(windows, "inputs", "messages")):
        chain["messages"] = messages
    if predictions := next(_made_from(windows, store.all("predictions", name)), None):
        chain["predictions"] = predictions
    return chain


def _newest_scores(store: Store, name: str, chain: Mapping[Kind, Artifact]) -> list[Path]:
    """Of each other detector the scores that were asked for last, of the newest windows."""
    if "windows" not in chain:
        return []
    newest: dict[str, Artifact] = {}
    for scores in _made_from(chain["windows"], store.all("detectors", name)):
        newest.setdefault(_manifest_entry(scores, "config", "method"), scores)
    return [
        path
        for method in sorted(newest)
        for path in sorted(newest[method].path.glob("split=*/*.parquet"))
    ]


def _made_from(windows: Artifact, artifacts: Sequence[Artifact]) -> Iterator[Artifact]:
    for artifact in artifacts:
        if _manifest_entry(artifact, "inputs", "windows") == windows.fingerprint:
            yield artifact


def _manifest_entry(artifact: Artifact, part: str, name: str) -> str:
    """What a manifest says there; a store accepts one whose list of files is whole."""
    try:
        entry = artifact.manifest[part][name]
    except (KeyError, TypeError, ValueError):
        entry = None
    if not isinstance(entry, str):
        raise LogLLMError(
            f"{artifact.path / MANIFEST} is damaged: it has no {part}.{name}. Restore it, or "
            f"delete {artifact.path}, which is then made anew."
        )
    return entry


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
