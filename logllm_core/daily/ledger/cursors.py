"""What of each new log was judged: `predictions/<data set>/new/<source>/cursor.json`.

The cursor names the tables that count and the place in the log up to which they go. It is replaced
by one rename, so that both move on together; a file that it does not name does not count.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.store.disk import replace_file
from logllm_core.store.sealed_json import read_record, seal
from logllm_core.store.store import Json, Store

CURSOR = "cursor.json"
CHANGED = "it is not as it was written"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One table of verdicts, in the order of window ids."""

    name: str
    num_windows: int
    sha256: str | None = None  # of the file; None: written before there were checksums


@dataclass(frozen=True, kw_only=True, slots=True)
class Retired:
    """A table whose rows another one holds now; those who read it are given time to end."""

    name: str
    since: float  # seconds since 1970


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A file as it was when nothing of it was left to judge."""

    path: str  # absolute
    size_bytes: int
    changed: int  # nanoseconds since 1970
    inode: int

    @classmethod
    def at(cls, path: Path) -> "Look":
        return cls.of(path, path.stat())

    @classmethod
    def of(cls, path: Path, stat: os.stat_result) -> "Look":
        return cls(
            path=str(path.absolute()),
            size_bytes=stat.st_size,
            changed=stat.st_mtime_ns,
            inode=stat.st_ino,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """How far one log was judged, and where its verdicts are."""

    source: str  # the path as it was given last
    place: Json  # in the log, see log_identity.py
    state: Json  # of the windows that are open, see stream_state.py
    pending: str | None = None  # the file with their lines
    parts: tuple[Part, ...] = ()
    retired: tuple[Retired, ...] = ()
    looks: tuple[Look, ...] = ()
    follows: str | None = None  # the path, absolute, at which it is followed until its life is over
    num_told: int = 0  # windows, from the first on, that a reader of the output was told

    @property
    def num_windows(self) -> int:
        return sum(part.num_windows for part in self.parts)

    @property
    def names(self) -> set[str]:
        """The files beside the cursor that must stay."""
        kept = {part.name for part in self.parts} | {part.name for part in self.retired}
        return kept | {CURSOR} | ({self.pending} if self.pending else set())


def new_dir(store: Store, dataset: str) -> Path:
    """The folder of all verdicts about new logs of a data set."""
    return store.data_dir / "predictions" / dataset / "new"


def read_cursor(folder: Path) -> Cursor:
    """The cursor of one source.

    Raises:
        LogLLMError: it is damaged.
    """
    path = folder / CURSOR
    values = read_record(path, advice=_advice(folder))
    try:
        kinds = {"parts": Part, "retired": Retired, "looks": Look}
        tuples = {key: tuple(kind(**entry) for entry in values[key]) for key, kind in kinds.items()}
        return Cursor(**values | tuples)
    except (TypeError, KeyError) as fault:
        raise damaged(folder, fault) from None


def damaged(folder: Path, fault: object, name: str = CURSOR) -> LogLLMError:
    """What to say of a cursor, or of a file that it names, that cannot be read."""
    return LogLLMError(f"{folder / name} is damaged: {fault}. {_advice(folder)}")


def _advice(folder: Path) -> str:
    return (
        "It tells which lines were judged: restore it, or delete "
        f"{folder} to have that log judged anew."
    )


def write_cursor(folder: Path, cursor: Cursor) -> None:
    """Replace the cursor; what it names must be on the disk already."""
    replace_file(folder / CURSOR, seal(asdict(cursor)))


def cursor_paths(store: Store, dataset: str) -> list[Path]:
    return sorted(new_dir(store, dataset).glob(f"[!.]*/{CURSOR}"))


def cursors(store: Store, dataset: str) -> Iterator[tuple[Path, Cursor]]:
    """The folder of each source and its cursor; a damaged one is told, and does not hide others."""
    for path in cursor_paths(store, dataset):
        try:
            yield path.parent, read_cursor(path.parent)
        except LogLLMError as fault:
            logger.warning("{}", fault)


def new_parts(store: Store, dataset: str) -> list[Path]:
    """The tables that count, see `tables.NEW_PREDICTIONS`: source by source, by window id."""
    return [
        folder / part.name for folder, cursor in cursors(store, dataset) for part in cursor.parts
    ]
