"""One log of a watch: claimed, read as it is or as it grows, judged, and released."""

import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from loguru import logger

from logllm_core.daily.detect.current_judge import CurrentJudge
from logllm_core.daily.detect.detect_result import Detected
from logllm_core.daily.detect.follow_file import POLL_SECONDS, GrowingLog, Piece
from logllm_core.daily.detect.judged_log import JudgedLog, Steps, Wishes
from logllm_core.daily.detect.log_claims import Claim, Claims, Finished
from logllm_core.daily.detect.log_identity import PIPE, Place, is_packed
from logllm_core.daily.detect.told_verdicts import Retelling
from logllm_core.daily.ledger.cursors import Look
from logllm_core.daily.ledger.log_faults import Faults, ForeignError, UnreadableError
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.progress import Advance
from logllm_core.store.disk import writable
from logllm_core.store.store import Store

AGAIN_SECONDS = 1.0  # between two tries to read a followed log that could not be read


def look_at(path: str) -> tuple[Look, int] | None:
    """What tells that a file is as before, and may be read by the same people."""
    try:
        stat = Path(path).stat()
    except OSError:  # gone, or standard input
        return None
    return Look.of(Path(path), stat), stat.st_ctime_ns


def _verdicts_of(path: str) -> str:
    return f"The verdicts of {path}"


class LogReader:
    """Reads the logs of one watch, whose wishes, counts and faults they share."""

    def __init__(
        self,
        store: Store,
        dataset: Dataset,
        wishes: Wishes,
        *,
        detected: Detected,
        faults: Faults,
        advance: Advance,
    ) -> None:
        self._dataset = dataset
        self._max_line_bytes = dataset.line.max_line_bytes
        self._wishes = wishes
        self._detected = detected
        self._faults = faults
        self._advance = advance
        self._current = CurrentJudge(store, dataset.name)
        self._claims = Claims(store, dataset.name)
        self._met: set[Path] = set()  # the logs' folders
        self._retelling = Retelling(wishes.tell or (lambda _: None), faults)

    def close(self) -> None:
        """The end of the watch: what is amiss with cursors is among the faults then."""
        self._retelling.flush()
        self._current.close()
        for name, damage in self._claims.damaged.items():
            self._faults.begin(name, damage)

    def read_once(self, path: str) -> Steps:
        """A log as it is now."""
        if path == PIPE:
            yield from self._read_pipe()
            return
        for claim in self._claims.claim(path):
            if isinstance(claim, Finished):
                self._tell_finished(path, claim)
            elif claim:
                place = Place.from_json(claim.ledger.cursor.place)
                log = GrowingLog(path, place, max_line_bytes=self._max_line_bytes)
                yield from self._read(claim, log, log)
            elif self._wishes.is_stopped():
                return
            else:
                yield False
        if look_at(path) is None:
            logger.warning("{} is gone", path)
        self._faults.end(path)

    def _read_pipe(self) -> Steps:
        log = GrowingLog(PIPE, max_line_bytes=self._max_line_bytes)
        pieces = iter(log)
        for piece in pieces:
            if piece:
                claim = self._claims.claim_pipe(PIPE, piece.place)
                yield from self._read(claim, log, chain([piece], pieces))
                return
            if self._wishes.is_stopped():
                return
            yield False

    def follow(self, path: str, *, is_of_folder: bool) -> Steps:
        """A log as it grows, then the one that takes its place, and so on.

        What goes wrong, with the log or with what is written of it, is tried again from what is
        written down: a follower outlives a file that is not there, no file or not to be read for a
        while, and a disk that is full.
        """
        if path == PIPE or is_packed(path):  # they end, and nothing takes their place
            yield from self.read_once(path)
            return
        if look_at(path) is None:
            logger.warning("There is no file {} yet; waiting for it", path)
        while not self._wishes.is_stopped():
            try:
                yield from self._follow_on(path, is_of_folder=is_of_folder)
                return
            except LogLLMError as fault:
                is_unread = isinstance(fault, UnreadableError)
                self._faults.begin(path if is_unread else _verdicts_of(path), fault)
            yield from self._pause()

    def _follow_on(self, path: str, *, is_of_folder: bool) -> Steps:
        yield from self._read_rests(path)
        while not self._wishes.is_stopped():
            look = look_at(path)
            for claim in self._claims.claim(path, is_read_on=True):
                if isinstance(claim, Claim) and claim.ledger.folder.name in self._faults:
                    claim.release()  # it was read, and is no such log: another one may come
                    yield from self._pause()
                    while look_at(path) == look and not self._wishes.is_stopped():
                        yield False
                elif isinstance(claim, Claim):
                    yield from self._read_as_it_grows(claim, path, wait_seconds=0)
                    yield from self._read_rests(path)
                else:
                    yield False
                if self._wishes.is_stopped():
                    return
            yield False  # there is no file, or nothing in it yet
            if is_of_folder and look_at(path) is None:
                return  # if it comes again, it is a newcomer

    def _pause(self) -> Steps:
        due = time.monotonic() + AGAIN_SECONDS
        while time.monotonic() < due and not self._wishes.is_stopped():
            yield False

    def _read_rests(self, path: str) -> Steps:
        """What logs got that stood at a path before, since they were looked at last."""
        while not self._wishes.is_stopped() and (rests := self._claims.followed_before(path)):
            while (claim := self._claims.claim_folder(rests[0])) is None:
                if self._wishes.is_stopped():
                    return
                yield False
            yield from self._read_as_it_grows(claim, path)

    def _read_as_it_grows(
        self, claim: Claim, path: str, *, wait_seconds: float = POLL_SECONDS
    ) -> Steps:
        place = Place.from_json(claim.ledger.cursor.place)
        log = GrowingLog(
            path,
            place,
            follow=True,
            wait_seconds=wait_seconds,
            max_line_bytes=self._max_line_bytes,
        )
        yield from self._read(claim, log, log)
        self._detected.num_cut_short_logs += log.is_cut_short

    def _read(self, claim: Claim, log: GrowingLog, pieces: Iterable[Piece | None]) -> Steps:
        self._retelling.flush()
        self._count(claim.ledger.folder)
        try:
            judged_log = self._judged(claim, log.path)
            path = str(Path(log.path).absolute())
            follows = path if log.is_followed else claim.ledger.cursor.follows
            with writable(claim.ledger.folder):
                claim.ledger.note_source(log.path, follows=follows)
            before = claim.ledger.cursor
            for is_busy in judged_log.steps(pieces, log):
                self._faults.end(log.path)
                if claim.ledger.cursor is not before:
                    self._faults.end(_verdicts_of(log.path))
                yield is_busy
            if log.is_followed and not self._wishes.is_stopped():
                self._expect(log)  # first, so that they are found whatever happens
                with writable(claim.ledger.folder):
                    claim.ledger.note_source(log.path, follows=None)
        except ForeignError as fault:
            if not log.is_followed:
                raise
            self._faults.begin(claim.ledger.folder.name, fault)
            with writable(claim.ledger.folder):
                claim.ledger.note_source(log.path, follows=None)
        finally:
            claim.release()

    def _count(self, source: Path) -> None:
        self._met.add(source)
        self._detected.num_logs = len(self._met)

    def _expect(self, log: GrowingLog) -> None:
        """Logs that were rotated away unread are next."""
        for missed in log.missed:
            try:
                self._claims.expect(missed, log.path)
            except UnreadableError as fault:
                self._faults.begin(missed, fault)

    def _tell_finished(self, path: str, log: Finished) -> None:
        """What was judged before; of a log that another process follows, it tells what is new."""
        self._count(log.folder)
        if log.is_followed and not self._wishes.is_following:
            logger.info("{} is followed by another process", log.cursor.source)
            self._detected.num_followed_logs += 1
        if self._wishes.tell is None:
            return
        is_told = log.cursor.num_told == log.cursor.num_windows  # so there is nothing to note
        claim = None if is_told else self._claims.claim_folder(log.folder)
        if claim is None:
            if not self._wishes.is_new_only:
                self._retelling.add(path, log.folder, log.cursor)
            return
        self._retelling.flush()
        try:
            self._judged(claim, log.cursor.source).tell_backlog()
        finally:
            claim.release()

    def _judged(self, claim: Claim, source: str) -> JudgedLog:
        return JudgedLog(
            claim.ledger,
            source,
            dataset=self._dataset,
            current=self._current,
            wishes=self._wishes,
            detected=self._detected,
            advance=self._advance,
        )
