"""What is known of all logs of a data set: their cursors, found by what a file shows.

A folder may hold ten thousand logs, so that to ask about one must not mean to look at all: what was
read stays in memory, and is looked at again only where it matters. Other processes may add logs and
move on in them meanwhile. What is stale then leads to the same log still, see `Claims`.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from logllm_core import tables
from logllm_core.daily.detect.log_identity import Mark, Place
from logllm_core.daily.ledger.cursors import CURSOR, Cursor, Look, damaged, read_cursor
from logllm_core.errors import LogLLMError
from logllm_core.store.disk import Stamp

# As `write_cursor` writes the mark of a log's first bytes: what a damaged cursor may still tell.
HEAD = re.compile(r'"head":\s*\{\s*"length":\s*([0-9]+),\s*"sha256":\s*"([0-9a-f]{64})"\s*\}')


class KnownLogs:
    """The cursors below a folder, by the names of their folders.

    Args:
        folder: see `cursors.new_dir`; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self.damaged: dict[str, LogLLMError] = {}  # by the source's name
        self._dir = folder
        self._cursors: dict[str, tuple[Stamp, Cursor]] = {}
        self._of_look: dict[Look, set[str]] = defaultdict(set)
        self._of_head: dict[Mark, set[str]] = defaultdict(set)
        self.add_new()

    def add_new(self) -> None:
        """Read the cursors of logs that have come, forget those that are gone."""
        with os.scandir(self._dir) as entries:
            names = {entry.name for entry in entries if not entry.name.startswith(".")}
        for name in names.difference(self._cursors, self.damaged):
            self._renew(name)
        for name in (self._cursors.keys() | self.damaged.keys()) - names:
            self._forget(name)

    def finished(self, look: Look) -> tuple[str, Cursor] | None:
        """The log of which nothing is left in a file that looks like this."""
        for name in sorted(self._of_look.get(look, ())):
            cursor = self._renew(name)
            if cursor and look in cursor.looks:
                return name, cursor
        return None

    def beginning_like(self, head: bytes) -> dict[str, Cursor]:
        """The logs that a file may be which begins with these bytes."""
        for name in list(self.damaged):  # somebody may have restored it
            self._renew(name)
        lengths = {mark.length for mark, names in self._of_head.items() if names}
        marks = [Mark.of(head[:length]) for length in lengths if 0 < length <= len(head)]
        names = [name for mark in marks for name in self._of_head[mark]]
        cursors = {name: self._renew(name) for name in sorted(names)}
        return {name: cursor for name, cursor in cursors.items() if cursor}

    def followed_at(self, path: str) -> dict[str, Cursor]:
        """The logs that are followed at a path, in the order in which they were noted last."""
        self.add_new()
        for name in [*self._cursors, *self.damaged]:
            self._renew(name)
        followed = {n: known for n, known in self._cursors.items() if known[1].follows == path}
        return {
            name: followed[name][1] for name in sorted(followed, key=lambda name: followed[name][0])
        }

    def damage_of(self, path: str, head: bytes) -> LogLLMError | None:
        """Why a file that no cursor knows may be one that was judged before: its cursor is damaged.

        Told by the log's first bytes, where the damaged cursor names them still; else by the path
        that its tables name.
        """
        for name, fault in self.damaged.items():
            if is_log_of(self._dir / name, path, head):
                return fault
        return None

    def _renew(self, name: str) -> Cursor | None:
        """The cursor as it is now; None where it is damaged or gone."""
        stamp = Stamp.at(self._dir / name / CURSOR)
        known = self._cursors.get(name)
        if known and known[0] == stamp:
            return known[1]
        self._forget(name)
        if stamp is None:
            return None
        try:
            cursor = read_cursor(self._dir / name)
            head = Place.from_json(cursor.place).head
        except FileNotFoundError:  # gone since
            return None
        except LogLLMError as fault:
            self.damaged[name] = fault
            return None
        except (KeyError, TypeError) as fault:  # no place in a log
            self.damaged[name] = damaged(self._dir / name, fault)
            return None
        self._cursors[name] = stamp, cursor
        self._of_head[head].add(name)
        for look in cursor.looks:
            self._of_look[look].add(name)
        return cursor

    def _forget(self, name: str) -> None:
        self.damaged.pop(name, None)
        known = self._cursors.pop(name, None)
        if known:
            self._of_head[Place.from_json(known[1].place).head].discard(name)
            for look in known[1].looks:
                self._of_look[look].discard(name)


def is_log_of(folder: Path, path: str, head: bytes) -> bool:
    """Whether a damaged cursor is that of a file with such first bytes."""
    try:
        head_mark = HEAD.search((folder / CURSOR).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        head_mark = None
    if head_mark and int(head_mark[1]) <= len(head):
        return Mark(length=int(head_mark[1]), sha256=head_mark[2]).fits(head[: int(head_mark[1])])
    return not head_mark and path in set(_judged_as(folder))


def _judged_as(folder: Path) -> Iterator[str]:
    """The paths under which a log was judged, from its tables that can be read."""
    for table in sorted(folder.glob("part-*.parquet")):
        try:
            yield from tables.opened(table).read(["source"])["source"].unique().to_pylist()
        except (OSError, pa.ArrowException):
            continue
