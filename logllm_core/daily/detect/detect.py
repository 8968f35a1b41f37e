"""New logs: read, cut into windows, judged, written down, told; each line once.

What is certain: a window is in the tables once, whatever is killed whenever, and after a restart
they hold the same windows as without. A window is told after it was written down, and that it was
told is noted after that: a process that is killed between these two tells its last batch again.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from logllm_core.daily.detect.detect_result import Detected, UnjudgedError
from logllm_core.daily.detect.find_logs import FoundLogs, find_logs
from logllm_core.daily.detect.follow_file import POLL_SECONDS
from logllm_core.daily.detect.judged_log import Steps, Wishes
from logllm_core.daily.detect.log_identity import is_packed, rotations
from logllm_core.daily.detect.one_log import LogReader, look_at
from logllm_core.daily.detect.waiting_times import Pace
from logllm_core.daily.ledger.log_faults import Faults, UnreadableError
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.progress import Advance, track
from logllm_core.store.disk import writable
from logllm_core.store.store import Store

LOOK_SECONDS = 1.0  # between two looks into followed folders
VIEWS = "What is made of all verdicts"
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
        tell: is given written verdicts (NEW_PREDICTIONS); without it they count as not told.
        publish: renews what is made of all verdicts.
        is_new_only: do not tell again what was told before.
        is_following: go on as the files grow, until `is_stopped`; tells what is new alone. Files
            may come later; what goes wrong with one meanwhile is told once and tried again.
        max_delay_seconds: so long a window of a followed file or a pipe waits for its lines, and a
            session for its next one; None: `waiting_times.patience`.
        is_stopped: asked between batches; what was read until then is written down.

    Raises:
        LogLLMError: there is no champion or none that can judge new logs, or the disk is full.
        UnjudgedError: once the others were judged: a log or its cursor is damaged, or no such log.
    """
    wishes = Wishes(
        tell=tell,
        publish=publish,
        is_new_only=is_new_only or is_following,
        is_following=is_following,
        max_delay_seconds=max_delay_seconds,
        is_stopped=is_stopped,
    )
    logs = find_logs(files, is_to_come=is_following)  # a wrong name costs no loading of a model
    with track("Reading", unit="lines") as advance:
        return _Watch(store, dataset, wishes, advance).run(files, logs)


class _Watch:
    """One call of `detect`."""

    def __init__(self, store: Store, dataset: Dataset, wishes: Wishes, advance: Advance) -> None:
        self.detected = Detected()
        self._store = store
        self._wishes = wishes
        self._faults = Faults()
        self._reader = LogReader(
            store, dataset, wishes, detected=self.detected, faults=self._faults, advance=advance
        )
        self._folders: Sequence[str] = ()  # that are followed
        self._pace = Pace()
        self._num_published = 0  # windows
        self._newcomers: list[Steps] = []  # logs that have come since
        self._under_way: set[str] = set()  # paths
        self._looks: dict[str, object] = {}  # at each log, from before it was read

    def run(self, files: Sequence[str], logs: FoundLogs) -> Detected:
        self.detected.left_out = logs.left_out
        self._folders = [path for path in files if Path(path).is_dir()]
        try:
            if self._wishes.is_following:
                rotated = rotations(logs.paths)
                steps = [self._log(path, is_whole=path in rotated) for path in logs.paths]
                self._drive([*steps, self._follow_newcomers()])
            else:
                for path in logs.paths:
                    self._drive([self._log(path, is_whole=True)])
        finally:
            self._reader.close()
        self._publish()
        if self._faults:
            self.detected.num_faults = len(self._faults)
            raise UnjudgedError(str(self._faults), self.detected)
        return self.detected

    def _publish(self) -> None:
        """What cannot be renewed for a while, such as on a full disk, ends no watch."""
        try:
            with writable(self._store.data_dir):
                self._wishes.publish()
        except LogLLMError as fault:
            if not self._wishes.is_following:
                raise
            self._faults.begin(VIEWS, fault)
        else:
            self._faults.end(VIEWS)

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
                    self._publish()
            if under_way and not is_busy:
                time.sleep(POLL_SECONDS)

    def _log(self, path: str, *, is_whole: bool) -> Steps:
        """A log, to its end or for good; what is amiss with it is no fault of the others.

        Args:
            is_whole: read it as it is now; what is written to it later does not belong to this call
                or makes it a newcomer of its folder again.
        """
        self._under_way.add(path)
        self._looks[path] = look_at(path)
        if is_whole:
            return self._guarded(path, self._reader.read_once(path))
        is_of_folder = any(Path(path).is_relative_to(folder) for folder in self._folders)
        return self._guarded(path, self._reader.follow(path, is_of_folder=is_of_folder))

    def _guarded(self, path: str, steps: Steps) -> Steps:
        try:
            yield from steps
        except UnreadableError as fault:
            self._faults.begin(path, fault)
        self._under_way.discard(path)

    def _follow_newcomers(self) -> Steps:
        """Logs that come into followed folders, or change there after they were read.

        A rotated log is not followed, as nobody should write to it any more; if somebody does, it
        is read again. A packed one, and one that could not be read, is read once it stands still.
        """
        before: dict[str, tuple[object, float]] = {}  # the last look, and since when
        due = time.monotonic()
        while self._folders and not self._wishes.is_stopped():
            if (now := time.monotonic()) >= due:
                there = [folder for folder in self._folders if Path(folder).is_dir()]
                paths = find_logs(there, is_to_come=True).paths
                looks = {path: look_at(path) for path in paths if path not in self._under_way}
                before = {
                    path: before[path] if before.get(path, (None,))[0] == look else (look, now)
                    for path, look in looks.items()
                    if look != self._looks.get(path)
                }
                rotated = rotations([*paths, *self._under_way]) if before else set()
                self._newcomers += [
                    self._log(path, is_whole=path in rotated)
                    for path, (_, since) in before.items()
                    if now - since >= STILL_SECONDS or not (is_packed(path) or path in self._faults)
                ]
                due = time.monotonic() + LOOK_SECONDS
            yield False
