"""The verdicts about one new log, written down in turn: a table and the place in the log at once.

Order of a commit: the tables beside, on the disk; then the cursor that names them, by one rename. A
process that is killed in between leaves files that no cursor names; the next one removes them.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from loguru import logger

from logllm_core import tables
from logllm_core.daily.ledger.cursors import (
    CHANGED,
    Cursor,
    Look,
    Part,
    Retired,
    damaged,
    read_cursor,
    write_cursor,
)
from logllm_core.daily.ledger.log_faults import UnreadableError
from logllm_core.store.disk import flush, whole_folder
from logllm_core.store.intact_files import sha256_of
from logllm_core.store.store import Json

MAX_PARTS = 100  # of one size: so many small tables are made one
SIZES = (1_000, 100_000)  # windows of a part that is small, and of one that is not large
NUM_LOOKS = 20  # that are remembered: names under which a log was read to its end
RETIRED_SECONDS = 600.0  # whoever reads tables that were merged is given so long to end


class Ledger:
    """One source's folder. Its lock must be held by whoever makes one.

    Args:
        folder: with a cursor in it, see `register`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cursor = read_cursor(folder)

    def remove_leftovers(self) -> None:
        """Files that the cursor does not name."""
        for path in self.folder.iterdir():
            if path.name not in self.cursor.names:
                path.unlink(missing_ok=True)

    @property
    def pending(self) -> pa.Table | None:
        """The lines of open windows."""
        if (name := self.cursor.pending) is None:
            return None
        with _damage_told(self.folder, name):
            return tables.opened(self.folder / name).read()

    def commit(
        self, verdicts: pa.Table, *, place: Json, state: Json, pending: pa.Table | None
    ) -> None:
        """Write down verdicts and how far the log was read for them.

        Args:
            verdicts: `tables.NEW_PREDICTIONS`, by window id; may be empty.
            pending: lines of open windows; None where there are none.
        """
        parts, name = self.cursor.parts, None
        if len(verdicts):
            part = f"part-{self.cursor.num_windows:012}-{uuid.uuid4().hex[:8]}.parquet"
            tables.write(self.folder / part, verdicts, tables.NEW_PREDICTIONS)
            flush(self.folder / part)
            parts += (self._part(part, num_windows=len(verdicts)),)
        if pending is not None and len(pending):
            name = f"pending-{uuid.uuid4().hex[:8]}.parquet"
            pq.write_table(pending, self.folder / name, **tables.PARQUET)
            flush(self.folder / name)
        before = self.cursor.pending
        self._replace(parts=parts, pending=name, place=place, state=state)
        if before:
            (self.folder / before).unlink(missing_ok=True)
        self._merge()

    def note_told(self) -> None:
        """All verdicts so far have reached whoever is told."""
        if self.cursor.num_told != self.cursor.num_windows:
            self._replace(num_told=self.cursor.num_windows)

    def note_finished(self, look: Look) -> None:
        """Nothing is left to judge in a file as it is now."""
        others = [before for before in self.cursor.looks if before.path != look.path]
        looks = (*others, look)[-NUM_LOOKS:]
        if looks != self.cursor.looks:
            self._replace(looks=looks)

    def note_source(self, source: str, *, follows: str | None) -> None:
        """Under which name it is read; `follows`: the path that is followed as it grows."""
        if (source, follows) != (self.cursor.source, self.cursor.follows):
            self._replace(source=source, follows=follows)

    def _merge(self) -> None:
        """Make one of the last parts where too many of a size are there, the rows in order."""
        for least, size in pairwise((0, *SIZES)):
            last: list[Part] = []
            for part in reversed(self.cursor.parts):
                if part.num_windows >= size:
                    break
                last.insert(0, part)
            if sum(part.num_windows >= least for part in last) >= MAX_PARTS:
                self._make_one(last)
                self._remove_retired()
                return

    def _make_one(self, last: Sequence[Part]) -> None:
        kept = self.cursor.parts[: -len(last)]
        first = sum(part.num_windows for part in kept)
        merged = f"part-{first:012}-{uuid.uuid4().hex[:8]}.parquet"
        with pq.ParquetWriter(
            self.folder / merged, tables.NEW_PREDICTIONS, **tables.PARQUET
        ) as writer:
            for part in last:
                writer.write_table(tables.read(self.folder / part.name, tables.NEW_PREDICTIONS))
        flush(self.folder / merged)
        num_windows = sum(part.num_windows for part in last)
        since = time.time()
        retired = [Retired(name=part.name, since=since) for part in last]
        self._replace(
            parts=(*kept, self._part(merged, num_windows=num_windows)),
            retired=(*self.cursor.retired, *retired),
        )

    def _part(self, name: str, *, num_windows: int) -> Part:
        return Part(name=name, num_windows=num_windows, sha256=sha256_of(self.folder / name))

    def _remove_retired(self) -> None:
        """Tables that were merged long ago; views do not name them any more."""
        latest = time.time() - RETIRED_SECONDS
        if any(table.since <= latest for table in self.cursor.retired):
            self._replace(retired=tuple(t for t in self.cursor.retired if t.since > latest))
            self.remove_leftovers()

    def _replace(self, **changes: object) -> None:
        cursor = replace(self.cursor, **changes)  # type: ignore[arg-type]
        write_cursor(self.folder, cursor)
        self.cursor = cursor


def written(folder: Path, cursor: Cursor, first: int = 0) -> Iterator[pa.Table]:
    """The verdicts that a cursor names, from window `first` on."""
    start = 0
    for part in cursor.parts:
        skipped = max(first - start, 0)
        if skipped < part.num_windows:
            with _damage_told(folder, part.name):
                # A flipped bit in a table's description may have any effect.
                if part.sha256 not in (None, sha256_of(folder / part.name)):
                    raise OSError(CHANGED)
                table = tables.read(folder / part.name, tables.NEW_PREDICTIONS)
            yield table.slice(skipped)
        start += part.num_windows


@contextmanager
def _damage_told(folder: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as fault:
        raise UnreadableError(str(damaged(folder, fault, name))) from None


def register(new_dir: Path, source: str, place: Json) -> Path:
    """The folder of a log that was not seen before; its lines are not judged yet."""
    folder = new_dir / uuid.uuid4().hex[:16]
    with whole_folder(folder) as beside:  # a folder without a cursor is none
        write_cursor(beside, Cursor(source=source, place=place, state=None))
    logger.info("{} is a new log, {}", source, folder.name)
    return folder
