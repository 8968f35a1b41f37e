"""Which source a file is, and that one process alone reads it.

A log is known by its content, under whatever name and packing it comes, see `log_identity`. A
log that was not seen before gets a folder before it is read, under a lock of the data set, so that
two processes that meet it at once agree; who reads it holds the lock of that folder.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from loguru import logger

from logllm_core.daily.detect.known_logs import KnownLogs
from logllm_core.daily.detect.log_identity import Mark, Place, beginning, head_of, recognise
from logllm_core.daily.ledger.cursors import Cursor, Look, new_dir, read_cursor
from logllm_core.daily.ledger.ledger import Ledger, register
from logllm_core.daily.ledger.log_faults import UnreadableError, faults_of
from logllm_core.errors import LogLLMError
from logllm_core.logs.sources.special_files import check_regular
from logllm_core.store.disk import lock, writable
from logllm_core.store.store import Store

RETRY_SECONDS = 0.5


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
        with writable(self._dir):
            self._dir.mkdir(parents=True, exist_ok=True)
        self._known = KnownLogs(self._dir)

    @property
    def damaged(self) -> Mapping[str, LogLLMError]:
        """What is wrong with cursors that cannot be read, by their folders' names."""
        return self._known.damaged

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
            with faults_of(path):
                cursor = read_cursor(folder)
            if cursor.follows and not is_read_on:
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
        try:
            with faults_of(str(folder)):
                ledger = Ledger(folder)
            with writable(folder):
                ledger.remove_leftovers()
        except BaseException:
            held.release()
            raise
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
        known = self._known.followed_at(str(Path(path).absolute()))
        now = _recognised(path, known)
        return [self._dir / name for name in known if name != now]

    def expect(self, path: str, source: str) -> None:
        """A log stood at the followed path `source` and was rotated away unread: it is next."""
        folder = self._folder_of(path)
        if isinstance(folder, Path):
            self.note_source(folder, source, follows=str(Path(source).absolute()))

    def note_source(self, folder: Path, source: str, *, follows: str | None) -> None:
        """See `Ledger.note_source`; a log that another process reads is left to it."""
        if claim := self.claim_folder(folder):
            try:
                with writable(folder):
                    claim.ledger.note_source(source, follows=follows)
            finally:
                claim.release()

    def _folder_of(self, path: str, *, is_look_true: bool = True) -> Path | Finished | None:
        with faults_of(path):
            try:
                stat = Path(path).stat()
            except FileNotFoundError:
                return None
            check_regular(path, stat.st_mode)
            if not stat.st_size:
                return None
            known = self._known.finished(Look.of(Path(path), stat)) if is_look_true else None
            if known:
                return Finished(folder=self._dir / known[0], cursor=known[1])
            head = head_of(path)
        if not head:
            return None
        if name := _recognised(path, self._known.beginning_like(head)):
            return self._dir / name
        with self._registering():  # another process may have met it in between
            self._known.add_new()
            if name := _recognised(path, self._known.beginning_like(head)):
                return self._dir / name
            if fault := self._known.damage_of(path, head):
                raise UnreadableError(f"{path} is not judged: {fault}")
            return self._register(path, beginning(head))

    def _is_still(self, path: str, claim: Claim) -> bool:
        """Whether the file is the claimed log also now that nobody else moves on in it."""
        name = claim.ledger.folder.name
        try:
            return _recognised(path, {name: claim.ledger.cursor}) == name
        except UnreadableError:
            claim.release()
            raise

    def _register(self, source: str, place: Place) -> Path:
        with writable(self._dir):
            return register(self._dir, source, place.as_json())

    @contextmanager
    def _registering(self) -> Iterator[None]:
        with writable(self._dir), lock(self._dir / ".sources.lock"):
            yield


def _recognised(path: str, known: Mapping[str, Cursor]) -> str | None:
    places = {name: Place.from_json(cursor.place) for name, cursor in known.items()}
    with faults_of(path):
        return recognise(path, places) if places and Path(path).exists() else None
