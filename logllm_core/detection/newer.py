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
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.contents import is_whole
from logllm_core.logs.splitting import Split
from logllm_core.store import Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Newer:
    """What could be told."""

    are_newer: NDArray[np.bool_]  # of each test window, in log order
    unknown: str | None  # why some known windows could not be left out, a sentence


def newer_windows(newest: Artifact, known: Sequence[Path], splits: Sequence[Split]) -> Newer:
    """The windows of the newest test split that are in none of the known windows.

    Args:
        newest: windows.
        known: folders of other windows. One that is gone is told.
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
    if not is_whole(windows):
        raise _UnknownError(f"windows {windows.name} are gone")
    columns = ["session_id", "start_time", "end_time"]
    return pa.concat_tables(
        tables.read(windows / f"split={split}", tables.WINDOWS, columns) for split in splits
    )


def _are_other_sessions(test: pa.Table, known: pa.Table) -> NDArray[np.bool_]:
    are_known = pc.is_in(test["session_id"], value_set=known["session_id"].combine_chunks())
    return ~np.asarray(are_known, dtype=bool)


def _began_later(test: pa.Table, known: pa.Table) -> NDArray[np.bool_]:
    if test["start_time"].null_count or known["end_time"].null_count:
        raise _UnknownError("lines have no time")
    if not len(known):
        return np.ones(len(test), dtype=bool)
    # The end of the window that began last: a single line whose clock was ahead must not make
    # everything after it look old.
    ended = known["end_time"][pc.index(known["start_time"], pc.max(known["start_time"])).as_py()]
    return np.asarray(pc.greater(test["start_time"], ended), dtype=bool)
