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
from logllm_core.detection.reading import Detected, Pace, Reading, Steps, Wishes
from logllm_core.disk import writable
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import Dataset
from logllm_core.logs.finding import find_logs
from logllm_core.logs.growing import POLL_SECONDS, GrowingLog, Piece
from logllm_core.logs.recognition import PIPE, Place, is_packed
from logllm_core.progress import Advance, track
from logllm_core.store import Store


def detect(
    store: Store,
    dataset: Dataset,
    files: Sequence[str],
    *,
    tell: Callable[[pa.Table], object] = lambda verdicts: None,
    publish: Callable[[], object] = lambda: None,
    is_new_only: bool = False,
    is_following: bool = False,
    max_delay_seconds: float = 10.0,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Detected:
    """Judge what is new in these logs by the champion.

    Args:
        files: logs, plain or packed, folders with logs, or "-" for standard input.
        tell: is given verdicts (`tables.NEW_PREDICTIONS`), batch by batch, once they are written.
        publish: renews what is made of all verdicts, such as views.
        is_new_only: do not tell again what was told before.
        is_following: go on as the files grow, until `is_stopped`; tells what is new alone.
        max_delay_seconds: a window of a followed file or a pipe waits no longer for its lines.
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

LOOK_SECONDS = 1.0  # between two looks into followed folders


class _Watch:
    """One call of `detect`."""

    def __init__(self, store: Store, dataset: Dataset, wishes: Wishes, advance: Advance) -> None:
        self.detected = Detected()
        self._dataset = dataset
        self._wishes = wishes
        self._advance = advance
        self._current = CurrentJudge(store, dataset.name)
        self._claims = Claims(store, dataset.name)
        self._faults: list[LogLLMError] = []
        self._pace = Pace()
        self._num_published = 0  # windows
        self._newcomers: list[Steps] = []  # logs that have come since

    def run(self, paths: Sequence[str], *, folders: Sequence[str]) -> None:
        try:
            if self._wishes.is_following:
                self._drive([*map(self._follow, paths), self._follow_newcomers(paths, folders)])
            else:
                for path in paths:
                    self._drive([self._read_once(path)])
        finally:
            self._current.close()
        self._wishes.publish()
        if self._faults:
            raise LogLLMError("\n".join(map(str, self._faults)))

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
                except UnreadableError as fault:
                    under_way.remove(steps)
                    logger.warning("{}", fault)
                    self._faults.append(fault)
            if self._pace.is_due and self.detected.num_windows > self._num_published:
                self._num_published = self.detected.num_windows
                with self._pace.timed():
                    self._wishes.publish()
            if under_way and not is_busy:
                time.sleep(POLL_SECONDS)

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
                yield from self._read(claim, path, log, Path(path))
            elif self._wishes.is_stopped():
                return
            else:
                yield False
        if not Path(path).exists():
            logger.warning("{} is gone", path)

    def _read_pipe(self) -> Steps:
        log = iter(GrowingLog(PIPE))
        for piece in log:
            if piece:
                claim = self._claims.claim_pipe(PIPE, piece.place)
                yield from self._read(claim, PIPE, chain([piece], log), None)
            elif self._wishes.is_stopped():
                return
            else:
                yield False

    def _follow(self, path: str) -> Steps:
        """A log as it grows, then the one that takes its place, and so on."""
        if path == PIPE or is_packed(path):  # they end, and nothing takes their place
            yield from self._read_once(path)
            return
        for folder in self._claims.followed_before(path):
            yield from self._read_rest(folder, path)
        while not self._wishes.is_stopped():
            for claim in self._claims.claim(path, is_read_on=True):
                if isinstance(claim, Claim):
                    place = Place.from_json(claim.ledger.cursor.place)
                    log = GrowingLog(path, place, follow=True, wait_seconds=0)
                    yield from self._read(claim, path, log, Path(path))
                    self.detected.num_cut_short_logs += log.is_cut_short
                    for missed in log.missed:
                        yield from self._read_once(missed)
                else:
                    yield False
                if self._wishes.is_stopped():
                    return
            yield False  # there is no file, or nothing in it yet

    def _follow_newcomers(self, paths: Sequence[str], folders: Sequence[str]) -> Steps:
        """Logs that come into followed folders."""
        known = set(paths)
        due = time.monotonic()
        while folders and not self._wishes.is_stopped():
            if time.monotonic() >= due:
                found = find_logs([folder for folder in folders if Path(folder).is_dir()])
                new = [path for path in found.paths if path not in known]
                known.update(new)
                self._newcomers += map(self._follow, new)
                due = time.monotonic() + LOOK_SECONDS
            yield False

    def _read_rest(self, folder: Path, path: str) -> Steps:
        """What a log that was followed here got before another one took its place."""
        while (claim := self._claims.claim_folder(folder)) is None:
            if self._wishes.is_stopped():
                return
            yield False
        log = GrowingLog(path, Place.from_json(claim.ledger.cursor.place), follow=True)
        yield from self._read(claim, path, log, None)
        self.detected.num_cut_short_logs += log.is_cut_short

    def _read(
        self, claim: Claim, source: str, log: Iterable[Piece | None], path: Path | None
    ) -> Steps:
        self.detected.num_logs += 1
        try:
            follows = str(path.absolute()) if path and self._wishes.is_following else None
            reading = self._reading(claim, source)
            with writable(claim.ledger.folder):
                claim.ledger.note_source(source, follows=follows)
            yield from reading.steps(log, path=path)
            if not self._wishes.is_stopped():
                with writable(claim.ledger.folder):
                    claim.ledger.note_source(source, follows=None)
        finally:
            claim.release()

    def _tell_finished(self, log: Finished) -> None:
        """What was judged before; of a log that another process follows, it tells what is new."""
        self.detected.num_logs += 1
        claim = self._claims.claim_folder(log.folder)
        if claim is None:
            for table in () if self._wishes.is_new_only else written(log.folder, log.cursor):
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
