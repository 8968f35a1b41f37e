"""Which source a file is, and that one process alone reads it.

A log is known by its content, under whatever name and packing it comes, see `growing.recognise`. A
log that was not seen before gets a folder before it is read, under a lock of the data set, so that
two processes that meet it at once agree; who reads it holds the lock of that folder.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from loguru import logger

from logllm_core.detection.ledger import Ledger, register
from logllm_core.disk import lock, writable
from logllm_core.errors import LogLLMError
from logllm_core.logs.cursors import CURSOR, Cursor, Look, cursor_paths, new_dir, read_cursor
from logllm_core.logs.recognition import Mark, Place, beginning, recognise
from logllm_core.store import Store

RETRY_SECONDS = 0.5


class UnreadableError(LogLLMError):
    """One log cannot be read; others can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A log of which nothing is left to judge, or nothing that others than its follower do."""

    folder: Path
    cursor: Cursor
    is_followed: bool = False  # by another one, who judges further lines as they come


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A log that this process may judge; others wait."""

    ledger: Ledger
    held: FileLock

    def release(self) -> None:
        self.held.release()


class Claims:
    """The sources of one data set."""

    def __init__(self, store: Store, dataset: str) -> None:
        self._dir = new_dir(store, dataset)
        self._store = store
        self._dataset = dataset
        self._known: dict[Path, tuple[tuple[int, int], Cursor]] = {}
        with writable(self._dir):
            self._dir.mkdir(parents=True, exist_ok=True)

    def claim(self, path: str, *, is_read_on: bool = False) -> Iterator[Claim | Finished | None]:
        """Wait for a file's source: gives None while another process reads it, then what it is.

        Ends without either where there is no file, or nothing in it yet. A process that follows the
        log does not come to an end: it is not waited for.

        Args:
            is_read_on: whether a log of which nothing is left is wanted all the same.
        """
        has_told, is_look_true = False, True
        while True:
            folder = self._folder_of(path, is_look_true=is_look_true)
            if isinstance(folder, Finished):
                if not is_read_on:
                    yield folder
                    return
                folder = folder.folder
            if folder is None:
                return
            claim = self.claim_folder(folder)
            if claim and self._is_still(path, claim):
                yield claim
                return
            if claim:  # it went on to be another log's
                claim.release()
                is_look_true = False
                yield None
                continue
            if not is_read_on and (cursor := read_cursor(folder)).follows:
                yield Finished(folder=folder, cursor=cursor, is_followed=True)
                return
            if not has_told:
                logger.info("Another process judges {}; waiting for it", path)
                has_told = True
            until = time.monotonic() + RETRY_SECONDS
            while time.monotonic() < until:
                yield None

    def claim_folder(self, folder: Path) -> Claim | None:
        """A known source; None where another process reads it."""
        held = FileLock(self._dir / f".{folder.name}.lock")
        with writable(self._dir):
            try:
                held.acquire(timeout=0)
            except Timeout:
                return None
        ledger = Ledger(folder)
        ledger.remove_leftovers()
        return Claim(ledger=ledger, held=held)

    def claim_pipe(self, source: str, place: Place) -> Claim:
        """A new source for what comes from a pipe; `place` is one after its first lines."""
        folder = self._register(source, replace(place, offset=0, num_lines=0, tail=Mark.of(b"")))
        claim = self.claim_folder(folder)
        assert claim, "a new folder is nobody else's"
        return claim

    def followed_before(self, path: str) -> list[Path]:
        """Sources that were followed at this path, and are another file's now or nowhere.

        In the order in which their cursors were written last.
        """
        wanted = str(Path(path).absolute())
        found = {f.name: (f, cursor) for f, cursor in self._cursors() if cursor.follows == wanted}
        now = self._recognised(path, {name: cursor for name, (_, cursor) in found.items()})
        rests = [folder for name, (folder, _) in found.items() if name != now]
        return sorted(rests, key=lambda folder: self._known[folder / CURSOR][0])

    def expect(self, path: str, source: str) -> None:
        """A log stood at the followed path `source` and was rotated away unread: it is next."""
        try:
            folder = self._folder_of(path)
        except UnreadableError as fault:
            logger.warning("{!r} was rotated away unread: {}", path, fault)
            return
        if isinstance(folder, Path):
            self.note_source(folder, source, follows=str(Path(source).absolute()))

    def note_source(self, folder: Path, source: str, *, follows: str | None) -> None:
        """See `Ledger.note_source`; a log that another process reads is left to it."""
        if claim := self.claim_folder(folder):
            with writable(folder):
                claim.ledger.note_source(source, follows=follows)
            claim.release()

    def _folder_of(self, path: str, *, is_look_true: bool = True) -> Path | Finished | None:
        try:
            look = Look.at(Path(path))
        except FileNotFoundError:
            return None
        if not look.size_bytes:
            return None
        known = {folder.name: cursor for folder, cursor in self._cursors()}
        for name, cursor in known.items():
            if is_look_true and look in cursor.looks:
                return Finished(folder=self._dir / name, cursor=cursor)
        if (found := self._recognised(path, known)) is not None:
            return self._dir / found
        with _reading(path):
            place = beginning(path)
        if place is None:
            return None
        with self._registering():  # another process may have met it in between
            further = {f.name: c for f, c in self._cursors() if f.name not in known}
            found = self._recognised(path, further)
            return self._dir / found if found is not None else self._register(path, place)

    def _recognised(self, path: str, known: dict[str, Cursor]) -> str | None:
        if not Path(path).exists():
            return None
        places = {name: Place.from_json(cursor.place) for name, cursor in known.items()}
        with _reading(path):
            return recognise(path, places)

    def _is_still(self, path: str, claim: Claim) -> bool:
        """Whether the file is the claimed log also now that nobody else moves on in it."""
        name = claim.ledger.folder.name
        return self._recognised(path, {name: claim.ledger.cursor}) == name

    def _register(self, source: str, place: Place) -> Path:
        with writable(self._dir):
            return register(self._dir, source, place.as_json())

    @contextmanager
    def _registering(self) -> Iterator[None]:
        with writable(self._dir), lock(self._dir / ".sources.lock"):
            yield

    def _cursors(self) -> Iterator[tuple[Path, Cursor]]:
        """All sources; a folder may hold thousands of logs, so what did not change stays read."""
        for path in cursor_paths(self._store, self._dataset):
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if self._known.get(path, (None,))[0] != stamp:
                self._known[path] = (stamp, read_cursor(path.parent))
            yield path.parent, self._known[path][1]


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except LogLLMError as fault:
        raise UnreadableError(str(fault)) from None
