"""One new log on its way: lines in, verdicts written down and told."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from loguru import logger

from logllm_core import tables
from logllm_core.daily.detect.current_judge import CurrentJudge
from logllm_core.daily.detect.detect_result import Detected
from logllm_core.daily.detect.follow_file import GrowingLog, Piece
from logllm_core.daily.detect.log_identity import PIPE, Place
from logllm_core.daily.detect.verdict_rows import verdicts
from logllm_core.daily.detect.waiting_times import Pace, patience
from logllm_core.daily.ledger.cursors import Look
from logllm_core.daily.ledger.ledger import Ledger, written
from logllm_core.daily.ledger.log_faults import ForeignError, UnreadableError, faults_of
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages import Masking
from logllm_core.logs.windows.message_windows import NewWindows, joined
from logllm_core.logs.windows.open_lines import PENDING_LINES
from logllm_core.logs.windows.stream_state import Pending, reading_of
from logllm_core.logs.windows.window_stream import WindowStream
from logllm_core.progress import Advance
from logllm_core.store.disk import writable

BATCH_WINDOWS = 512  # judged together; between batches another champion may take over
Steps = Iterator[bool]  # whether there was anything to do; ends with the work


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What the caller of `detect` wants; see there."""

    tell: Callable[[pa.Table], object] | None  # None: nobody listens
    publish: Callable[[], object]
    is_new_only: bool
    is_following: bool
    max_delay_seconds: float | None
    is_stopped: Callable[[], bool]


class JudgedLog:
    """A claimed log, judged from where its ledger ends."""

    def __init__(
        self,
        ledger: Ledger,
        source: str,
        *,
        dataset: Dataset,
        current: CurrentJudge,
        wishes: Wishes,
        detected: Detected,
        advance: Advance,
    ) -> None:
        self._dataset = dataset
        self._current = current
        self._ledger = ledger
        self._source = source
        self._wishes = wishes
        self._detected = detected
        self._advance = advance
        self._is_live = wishes.is_following or source == PIPE
        self._pace = Pace()
        wanted = wishes.max_delay_seconds
        self._delay_seconds = patience(dataset) if wanted is None else wanted
        self._place = Place.from_json(ledger.cursor.place)

    def tell_backlog(self) -> None:
        """What was written down before: all, or what nobody was told."""
        if self._wishes.tell is None:
            return
        cursor = self._ledger.cursor
        for table in written(
            self._ledger.folder, cursor, cursor.num_told if self._wishes.is_new_only else 0
        ):
            self._wishes.tell(table)
        with writable(self._ledger.folder):
            self._ledger.note_told()

    def steps(self, pieces: Iterable[Piece | None], log: GrowingLog) -> Steps:
        """Read on, until the log ends or the caller stops.

        Args:
            pieces: of the log.

        Raises:
            UnreadableError: the log is damaged or no such log.
        """
        self.tell_backlog()
        self._stream = self._restored()
        yield from self._keep_up()
        before, is_ended = self._stream.counts, True
        looked = time.monotonic()
        for piece, windows in self._taken(pieces):
            if self._is_live:  # in the time that passed since, this log or others were judged
                delay = self._delay_seconds + time.monotonic() - looked
                windows.append(self._stream.close(delay, at_most=BATCH_WINDOWS))
                looked = time.monotonic()
            has_windows = any(map(len, windows))
            if has_windows or (self._is_ahead and self._pace.is_due):
                self._settle(windows)
                yield from self._keep_up()
            elif piece is None and log.is_followed:
                self._note_rest(log.look)
            # Only of a followed log nothing means that nothing has come: of others, not yet.
            yield bool(piece or has_windows) or not log.is_followed
            if self._wishes.is_stopped():
                is_ended = self._source == PIPE  # what came from a pipe cannot be read again
                break
        if is_ended:
            is_ended = yield from self._settle_open()
        else:
            self._settle([])
        self._detected.add_lines(before, self._stream.counts)
        if is_ended and log.look:
            self._note_finished(log.look)

    def _taken(
        self, pieces: Iterable[Piece | None]
    ) -> Iterator[tuple[Piece | None, list[NewWindows]]]:
        """The pieces, and the windows that each of them closed."""
        following = iter(pieces)
        while True:
            windows: list[NewWindows] = []
            try:
                with faults_of(self._source):
                    piece = next(following)
                if piece:
                    windows.append(self._stream.push(piece.block))
            except StopIteration:
                return
            except UnreadableError:
                raise
            except LogLLMError as fault:
                raise ForeignError(str(fault)) from None
            if piece:
                self._place = piece.place
                self._advance(len(piece.block))
            yield piece, windows

    def _note_rest(self, look: Look | None) -> None:
        """Let others know that nothing is left to judge, as long as the file does not grow."""
        if self._is_ahead or self._ledger.cursor.pending:
            return
        if look and look.size_bytes == self._place.offset:
            self._note_finished(look)

    def _note_finished(self, look: Look) -> None:
        with writable(self._ledger.folder):
            self._ledger.note_finished(look)

    @property
    def _is_ahead(self) -> bool:
        """Whether lines were read that the ledger does not know of."""
        return bool(self._place.as_json() != self._ledger.cursor.place)

    def _restored(self) -> WindowStream:
        """The stream where the ledger left it, reading as its open windows were read."""
        state, lines = self._ledger.cursor.state, self._ledger.pending
        if state is None:
            return self._opened(self._dataset, self._current.masking, None)
        if lines is None:
            lines = PENDING_LINES.empty_table()
        pending = Pending(state=state["stream"], lines=lines)
        return self._opened(pending.dataset_of(self._dataset), state["masking"], pending)

    def _opened(self, dataset: Dataset, masking: Masking, pending: Pending | None) -> WindowStream:
        self._masking: Masking = masking
        return WindowStream(dataset, masking, source=self._source, pending=pending)

    def _settle(self, windows: Sequence[NewWindows]) -> None:
        """Judge windows, write their verdicts down with the place in the log, tell them."""
        none = tables.NEW_PREDICTIONS.empty_table()
        self._write(self._judged(joined(windows)) if windows else none)

    def _settle_open(self) -> Generator[bool, None, bool]:
        """Settle the open windows, which may be all sessions of a log; whether it came to that.

        Now and then what is judged is written down, and the others as windows that are open.
        """
        judged = [tables.NEW_PREDICTIONS.empty_table()]
        is_whole = True
        while is_whole and (windows := self._stream.close(at_most=BATCH_WINDOWS)):
            judged.append(self._judged(windows))
            if self._pace.is_due:
                self._write(pa.concat_tables(judged))
                judged = judged[:1]
            yield True
            # What came from a pipe cannot be read again.
            is_whole = self._source == PIPE or not self._wishes.is_stopped()
        self._write(pa.concat_tables(judged))
        return is_whole

    def _write(self, judged: pa.Table) -> None:
        with self._pace.timed(), writable(self._ledger.folder):
            pending = self._stream.pending()
            self._ledger.commit(
                judged,
                place=self._place.as_json(),
                state={"masking": self._masking, "stream": dict(pending.state)},
                pending=pending.lines,
            )
        if judged and self._wishes.tell:
            self._wishes.tell(judged)
            with writable(self._ledger.folder):
                self._ledger.note_told()

    def _keep_up(self) -> Steps:
        """Follow a promotion, and a change of the data set's file.

        Where lines are read otherwise now, open windows end, and others begin with the next lines.
        """
        self._current.renew()
        is_changed = self._stream.reading != reading_of(self._dataset)
        if is_changed:
            logger.info("{} was changed; open windows of {} end", self._dataset.name, self._source)
        is_wanted = is_changed or self._masking != self._current.masking
        if is_wanted and (yield from self._settle_open()):
            pending = self._stream.pending()
            self._stream = self._opened(self._dataset, self._current.masking, pending)

    def _judged(self, windows: NewWindows) -> pa.Table:
        rows = [tables.NEW_PREDICTIONS.empty_table()]
        for start in range(0, len(windows), BATCH_WINDOWS):
            batch = windows.slice(start, BATCH_WINDOWS)
            self._current.renew(only=self._masking)  # these windows are masked already
            if self._current.masking != self._masking:  # seated meanwhile for another log
                batch = batch.masked_anew(self._current.masking)
            judge = self._current.judge
            judged = judge.judge(batch)
            self._detected.add_judged(judged)
            table = verdicts(
                batch,
                judged,
                judge.num_unseen_lines(batch),
                log_id=self._ledger.folder.name,
                source=self._source,
                model=judge.fingerprint,
            )
            rows.append(table)
        return pa.concat_tables(rows)
