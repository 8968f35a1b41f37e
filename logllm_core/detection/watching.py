"""New logs: read, cut into windows, judged, written down, told; each line once.

What is certain: a window is in the tables once, whatever is killed whenever, and after a restart
they hold the same windows as without. A window is told after it was written down, and that it was
told is noted after that: a process that is killed between these two tells its last batch again.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
from loguru import logger

from logllm_core.detection.claiming import Claim, Claims, Finished, UnreadableError
from logllm_core.detection.current import CurrentJudge
from logllm_core.detection.ledger import written
from logllm_core.detection.pace import Pace
from logllm_core.detection.reading import Detected, Reading, Steps, Wishes
from logllm_core.disk import writable
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import Dataset
from logllm_core.logs.cursors import Look
from logllm_core.logs.finding import find_logs
from logllm_core.logs.growing import POLL_SECONDS, GrowingLog, Piece
from logllm_core.logs.recognition import PIPE, Place, is_packed, rotations
from logllm_core.progress import Advance, track
from logllm_core.store import Store

LOOK_SECONDS = 1.0  # between two looks into followed folders
STILL_SECONDS = 2.0  # for which a packed file that came did not change: it is whole


def detect(
    store: Store,
    dataset: Dataset,
    files: Sequence[str],
    *,
    tell: Callable[[pa.Table], object] | None = None,
    publish: Callable[[], object] = lambda: None,
    is_new_only: bool = False,
    is_following: bool = False,
    max_delay_seconds: float | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Detected:
    """Judge what is new in these logs by the champion.

    Args:
        files: logs, plain or packed, folders with logs, or "-" for standard input.
        tell: is given verdicts (`tables.NEW_PREDICTIONS`), batch by batch, once they are written;
            without it they count as not told.
        publish: renews what is made of all verdicts, such as views.
        is_new_only: do not tell again what was told before.
        is_following: go on as the files grow, until `is_stopped`; tells what is new alone.
        max_delay_seconds: a window of a followed file or a pipe waits no longer for its lines, a
            session for its next one; None: `reading.patience`.
        is_stopped: asked between batches; what was read until then is written down.

    Raises:
        LogLLMError: there is no champion or none that can judge new logs; the disk is full; or,
            once the other logs were judged, that one of them cannot be read or is no such log.
    """
    found = find_logs(files)
    wishes = Wishes(
        tell=tell,
        publish=publish,
        is_new_only=is_new_only or is_following,
        is_following=is_following,
        max_delay_seconds=max_delay_seconds,
        is_stopped=is_stopped,
    )
    with track("Reading", unit="lines") as advance:
        watch = _Watch(store, dataset, wishes, advance)
        watch.detected.left_out = found.left_out
        watch.run(found.paths, folders=[path for path in files if Path(path).is_dir()])
    return watch.detected


def _look(path: str) -> Look | None:
    try:
        return Look.at(Path(path))
    except OSError:  # gone, or standard input
        return None


class _Watch:
    """One call of `detect`."""

    def __init__(self, store: Store, dataset: Dataset, wishes: Wishes, advance: Advance) -> None:
        self.detected = Detected()
        self._dataset = dataset
        self._wishes = wishes
        self._advance = advance
        self._current = CurrentJudge(store, dataset.name)
        self._claims = Claims(store, dataset.name)
        self._faults: dict[str, UnreadableError] = {}  # by path, or source's folder
        self._folders: Sequence[str] = ()  # that are followed
        self._pace = Pace()
        self._num_published = 0  # windows
        self._newcomers: list[Steps] = []  # logs that have come since
        self._under_way: set[str] = set()  # paths
        self._looks: dict[str, Look | None] = {}  # at each log, from before it was read

    def run(self, paths: Sequence[str], *, folders: Sequence[str]) -> None:
        self._folders = folders
        try:
            if self._wishes.is_following:
                rotated = rotations(paths)
                logs = [self._log(path, is_whole=path in rotated) for path in paths]
                self._drive([*logs, self._follow_newcomers()])
            else:
                for path in paths:
                    self._drive([self._log(path, is_whole=True)])
        finally:
            self._current.close()
        self._wishes.publish()
        if self._faults:
            raise LogLLMError("\n".join(map(str, self._faults.values())))

    def _drive(self, under_way: list[Steps]) -> None:
        """Side by side to their ends, with a pause where none of them has anything to do."""
        while under_way:
            is_busy = False
            for steps in list(under_way):
                try:
                    is_busy |= next(steps)
                    while self._newcomers:
                        under_way.append(self._newcomers.pop())
                except StopIteration:
                    under_way.remove(steps)
            if self._pace.is_due and self.detected.num_windows > self._num_published:
                self._num_published = self.detected.num_windows
                with self._pace.timed():
                    self._wishes.publish()
            if under_way and not is_busy:
                time.sleep(POLL_SECONDS)

    def _log(self, path: str, *, is_whole: bool) -> Steps:
        """A log, to its end or for good; that it cannot be read is no fault of the others.

        Args:
            is_whole: read it as it is now; what is written to it later does not belong to this call
                or makes it a newcomer of its folder again.
        """
        self._under_way.add(path)
        self._looks[path] = _look(path)
        return self._guarded(path, self._read_once(path) if is_whole else self._follow(path))

    def _guarded(self, path: str, steps: Steps) -> Steps:
        try:
            yield from steps
            self._faults.pop(path, None)
        except UnreadableError as fault:
            self._note_fault(path, fault)
        self._under_way.discard(path)

    def _note_fault(self, name: str, fault: UnreadableError) -> None:
        logger.warning("{}", fault)
        self._faults[name] = fault

    def _read_once(self, path: str) -> Steps:
        """A log as it is now."""
        if path == PIPE:
            yield from self._read_pipe()
            return
        for claim in self._claims.claim(path):
            if isinstance(claim, Finished):
                self._tell_finished(claim)
            elif claim:
                log = GrowingLog(path, Place.from_json(claim.ledger.cursor.place))
                yield from self._read(claim, log, log)
            elif self._wishes.is_stopped():
                return
            else:
                yield False
        if not Path(path).exists():
            logger.warning("{} is gone", path)

    def _read_pipe(self) -> Steps:
        log = GrowingLog(PIPE)
        pieces = iter(log)
        for piece in pieces:
            if piece:
                claim = self._claims.claim_pipe(PIPE, piece.place)
                yield from self._read(claim, log, chain([piece], pieces))
                return
            if self._wishes.is_stopped():
                return
            yield False

    def _follow(self, path: str) -> Steps:
        """A log as it grows, then the one that takes its place, and so on."""
        if path == PIPE or is_packed(path):  # they end, and nothing takes their place
            yield from self._read_once(path)
            return
        yield from self._read_rests(path)
        while not self._wishes.is_stopped():
            for claim in self._claims.claim(path, is_read_on=True):
                if isinstance(claim, Claim):
                    yield from self._read_as_it_grows(claim, path, wait_seconds=0)
                    yield from self._read_rests(path)
                else:
                    yield False
                if self._wishes.is_stopped():
                    return
            yield False  # there is no file, or nothing in it yet
            if self._is_of_folder(path) and not Path(path).exists():
                return  # if it comes again, it is a newcomer

    def _is_of_folder(self, path: str) -> bool:
        return any(Path(path).is_relative_to(folder) for folder in self._folders)

    def _follow_newcomers(self) -> Steps:
        """Logs that come into followed folders, or change there after they were read.

        A rotated log is not followed, as nobody should write to it any more; if somebody does, it
        is read again. A packed one, and one that could not be read, is read once it stands still.
        """
        before: dict[str, tuple[Look | None, float]] = {}  # the last look, and since when
        due = time.monotonic()
        while self._folders and not self._wishes.is_stopped():
            if (now := time.monotonic()) >= due:
                there = [folder for folder in self._folders if Path(folder).is_dir()]
                found = find_logs(there).paths
                looks = {path: _look(path) for path in found if path not in self._under_way}
                before = {
                    path: before[path] if before.get(path, (None,))[0] == look else (look, now)
                    for path, look in looks.items()
                    if look != self._looks.get(path)
                }
                rotated = rotations([*found, *self._under_way]) if before else set()
                self._newcomers += [
                    self._log(path, is_whole=path in rotated)
                    for path, (_, since) in before.items()
                    if now - since >= STILL_SECONDS or not (is_packed(path) or path in self._faults)
                ]
                due = time.monotonic() + LOOK_SECONDS
            yield False

    def _read_rests(self, path: str) -> Steps:
        """What logs got that stood at a path before, since they were looked at last."""
        while not self._wishes.is_stopped() and (rests := self._claims.followed_before(path)):
            while (claim := self._claims.claim_folder(rests[0])) is None:
                if self._wishes.is_stopped():
                    return
                yield False
            try:
                yield from self._read_as_it_grows(claim, path)
            except UnreadableError as fault:  # what stands at the path now may be in order
                self._note_fault(rests[0].name, fault)
                self._claims.note_source(rests[0], path, follows=None)

    def _read_as_it_grows(
        self, claim: Claim, path: str, *, wait_seconds: float = POLL_SECONDS
    ) -> Steps:
        place = Place.from_json(claim.ledger.cursor.place)
        log = GrowingLog(path, place, follow=True, wait_seconds=wait_seconds)
        yield from self._read(claim, log, log)
        self.detected.num_cut_short_logs += log.is_cut_short

    def _read(self, claim: Claim, log: GrowingLog, pieces: Iterable[Piece | None]) -> Steps:
        self.detected.num_logs += 1
        try:
            reading = self._reading(claim, log.path)
            path = str(Path(log.path).absolute())
            follows = path if log.is_followed else claim.ledger.cursor.follows
            with writable(claim.ledger.folder):
                claim.ledger.note_source(log.path, follows=follows)
            yield from reading.steps(pieces, log)
            if log.is_followed and not self._wishes.is_stopped():
                for missed in log.missed:  # first, so that they are found whatever happens
                    self._claims.expect(missed, log.path)
                with writable(claim.ledger.folder):
                    claim.ledger.note_source(log.path, follows=None)
        finally:
            claim.release()

    def _tell_finished(self, log: Finished) -> None:
        """What was judged before; of a log that another process follows, it tells what is new."""
        self.detected.num_logs += 1
        if log.is_followed and not self._wishes.is_following:
            logger.info("{} is followed by another process", log.cursor.source)
            self.detected.num_followed_logs += 1
        claim = self._claims.claim_folder(log.folder)
        if claim is None:
            if self._wishes.tell and not self._wishes.is_new_only:
                for table in written(log.folder, log.cursor):
                    self._wishes.tell(table)
            return
        try:
            self._reading(claim, log.cursor.source).tell_backlog()
        finally:
            claim.release()

    def _reading(self, claim: Claim, source: str) -> Reading:
        return Reading(
            self._dataset,
            self._current,
            claim.ledger,
            source,
            self._wishes,
            self.detected,
            self._advance,
        )
