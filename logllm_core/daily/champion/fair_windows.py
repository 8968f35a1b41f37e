"""Which of the newest windows a model was not trained on, or had not even been there for.

Windows of other artifacts have other numbers, so a window is recognised by its session, or where
windows follow the log by its time: what began after the last line that the model knows is newer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from loguru import logger
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.logs.windows.splits import Split
from logllm_core.store.disk import replace_file
from logllm_core.store.intact_files import is_whole
from logllm_core.store.store import Artifact

TRAINED_ON: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Newer:
    """What could be told."""

    are_newer: NDArray[np.bool_]  # of each test window, in log order
    unknown: str | None  # why some known windows could not be left out, a sentence


def note_known(windows: Artifact) -> None:
    """Keep of windows that go what tells whether a model was trained on others, beside them.

    That is of sessions their names, and where windows follow the log, the one that began last.
    What cannot be read is told then, see `newer_windows`.
    """
    try:
        known = _read(windows.path, TRAINED_ON)
    except _UnknownError as fault:
        logger.warning("{} will not know what it was trained on: {}", windows.dataset, fault)
        return
    no_time = pa.nulls(len(known), tables.KNOWN_WINDOWS.field("end_time").type)
    if not known["session_id"].null_count:
        known = pa.table([known["session_id"], no_time, no_time], schema=tables.KNOWN_WINDOWS)
    elif _lacks_times(known):
        known = known.filter(pc.is_null(known["end_time"])).slice(0, 1)
    else:
        known = known.slice(_last(known), 1)
    content = pa.BufferOutputStream()
    pq.write_table(known.cast(tables.KNOWN_WINDOWS), content, **tables.PARQUET)
    replace_file(_noted(windows.path), content.getvalue().to_pybytes())


def newer_windows(newest: Artifact, known: Sequence[Path], splits: Sequence[Split]) -> Newer:
    """The windows of the newest test split that are in none of the known windows.

    Args:
        newest: windows.
        known: folders of other windows. One that is gone, and was not noted, is told.
        splits: of the known windows, those that count.
    """
    test = tables.read(newest.path / "split=test", tables.WINDOWS, ["session_id", "start_time"])
    compare = _began_later if test["session_id"].null_count else _are_other_sessions
    are_newer = np.ones(len(test), dtype=bool)
    faults = []
    for folder in known:
        try:
            are_newer &= compare(test, _read(folder, splits))
        except _UnknownError as fault:
            faults.append(str(fault))
    unknown = f"Known windows could not all be left out: {'; '.join(dict.fromkeys(faults))}."
    return Newer(are_newer=are_newer, unknown=unknown if faults else None)


class _UnknownError(Exception):
    """Why a window cannot be recognised."""


def _read(windows: Path, splits: Sequence[Split]) -> pa.Table:
    is_noted = not is_whole(windows)
    if is_noted and not (_noted(windows).is_file() and set(splits) <= set(TRAINED_ON)):
        raise _UnknownError(f"windows {windows.name} are gone")
    try:
        if is_noted:
            return tables.read(_noted(windows), tables.KNOWN_WINDOWS)
        return pa.concat_tables(
            tables.read(windows / f"split={split}", tables.WINDOWS, tables.KNOWN_WINDOWS.names)
            for split in splits
        )
    except (OSError, pa.ArrowException):
        raise _UnknownError(f"windows {windows.name} are damaged") from None


def _noted(windows: Path) -> Path:
    return windows.with_name(f".{windows.name}.known.parquet")


def _are_other_sessions(test: pa.Table, known: pa.Table) -> NDArray[np.bool_]:
    are_known = pc.is_in(test["session_id"], value_set=known["session_id"].combine_chunks())
    return ~np.asarray(are_known, dtype=bool)


def _began_later(test: pa.Table, known: pa.Table) -> NDArray[np.bool_]:
    if test["start_time"].null_count or _lacks_times(known):
        raise _UnknownError("lines have no time")
    if not len(known):
        return np.ones(len(test), dtype=bool)
    return np.asarray(pc.greater(test["start_time"], known["end_time"][_last(known)]), dtype=bool)


def _lacks_times(known: pa.Table) -> bool:
    return bool(known["end_time"].null_count)


def _last(known: pa.Table) -> int:
    """The window that began last.

    Not the one that ended last: a single line whose clock was ahead must not make everything after
    it look old.
    """
    place: int = pc.index(known["start_time"], pc.max(known["start_time"])).as_py()
    return place
