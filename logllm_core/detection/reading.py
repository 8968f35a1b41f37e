"""One new log on its way: lines in, verdicts written down and told."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from logllm_core import tables
from logllm_core.detection.claiming import UnreadableError
from logllm_core.detection.current import CurrentJudge
from logllm_core.detection.ledger import Ledger, written
from logllm_core.detection.verdicts import verdicts
from logllm_core.disk import writable
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import Dataset
from logllm_core.logs.cursors import Look
from logllm_core.logs.growing import Piece
from logllm_core.logs.messages import Masking
from logllm_core.logs.open_lines import PENDING_LINES
from logllm_core.logs.recognition import PIPE, Place
from logllm_core.logs.streaming import Counts, NewWindow, Pending, WindowStream
from logllm_core.progress import Advance

BATCH_WINDOWS = 512  # judged together; between batches another champion may take over
INTERVAL_SECONDS, MAX_SHARE = 10.0, 0.05  # of what is done now and then: so seldom, so little time
Steps = Iterator[bool]  # whether there was anything to do; ends with the work


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What the caller of `watching.detect` wants; see there."""

    tell: Callable[[pa.Table], object]
    publish: Callable[[], object]
    is_new_only: bool
    is_following: bool
    max_delay_seconds: float
    is_stopped: Callable[[], bool]


@dataclass(kw_only=True, slots=True)
class Detected:
    """What one call of `watching.detect` did."""

    num_logs: int = 0
    num_lines: int = 0
    num_unparsed_lines: int = 0
    num_late_lines: int = 0  # in a later window than their time's
    num_windows: int = 0  # judged now
    num_reused_windows: int = 0  # of these, not scored: their messages were scored before
    num_anomalous_windows: int = 0
    num_unlocalized_windows: int = 0  # anomalous, but too many to say which lines carried them
    num_cut_short_logs: int = 0  # followed before, and their rest was not found again
    left_out: Mapping[str, int] = field(default_factory=dict)  # files of folders, by reason

    @property
    def sentence(self) -> str:
        logs = "1 log" if self.num_logs == 1 else f"{self.num_logs:,} logs"
        told = (
            f"{logs}, {self.num_lines:,} new lines in {self.num_windows:,} windows judged now, "
            f"{self.num_anomalous_windows:,} of them anomalous"
        )
        for number, what in (
            (self.num_reused_windows, "were judged before by their messages"),
            (self.num_unlocalized_windows, "anomalous ones were too many to say why"),
            (self.num_unparsed_lines, "lines do not match the format"),
            (self.num_late_lines, "lines came late"),
            (self.num_cut_short_logs, "logs were rotated away and not found again"),
            *((number, reason) for reason, number in self.left_out.items()),
        ):
            told += f"; {number:,} {what}" if number else ""
        return f"{told}."


class Pace:
    """When to do again what is done now and then: the slower it is, the more seldom."""

    def __init__(self) -> None:
        self._ended = time.monotonic()
        self._seconds = 0.0

    @property
    def is_due(self) -> bool:
        waited = time.monotonic() - self._ended
        return waited >= max(INTERVAL_SECONDS, self._seconds / MAX_SHARE)

    @contextmanager
    def timed(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._seconds = self._ended - began


class Reading:
    """A claimed log, from where its ledger ends."""

    def __init__(
        self,
        dataset: Dataset,
        current: CurrentJudge,
        ledger: Ledger,
        source: str,
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
        self._settling_seconds = 0.0  # since lines were read last
        self._place = Place.from_json(ledger.cursor.place)

    def tell_backlog(self) -> None:
        """What was written down before: all, or what nobody was told."""
        cursor = self._ledger.cursor
        for table in written(
            self._ledger.folder, cursor, cursor.num_told if self._wishes.is_new_only else 0
        ):
            self._wishes.tell(table)
        with writable(self._ledger.folder):
            self._ledger.note_told()

    def steps(self, pieces: Iterable[Piece | None], *, path: Path | None = None) -> Steps:
        """Read on, until the log ends or the caller stops.

        Args:
            path: the log's file, not opened yet, where it stands at its own place.

        Raises:
            UnreadableError: the log is damaged or no such log.
        """
        look = _look(path) if path else None
        self.tell_backlog()
        self._stream = self._restored()
        self._keep_up()
        before, is_ended = self._stream.counts, True
        for piece, windows in self._taken(pieces):
            if self._is_live:  # the time that judging took since then is not the log's
                delay = self._wishes.max_delay_seconds + self._settling_seconds
                windows += self._stream.close(delay)
                self._settling_seconds = 0.0
            if windows or (self._is_ahead and self._pace.is_due):
                self._settle(windows)
                self._keep_up()
            elif piece is None and path and self._wishes.is_following:
                self._note_rest(path)
            yield piece is not None
            if self._wishes.is_stopped():
                is_ended = self._source == PIPE  # what came from a pipe cannot be read again
                break
        self._settle(self._stream.close() if is_ended else [])
        self._count(before, self._stream.counts)
        if is_ended and look and not self._wishes.is_following:
            self._note_finished(look)

    def _taken(
        self, pieces: Iterable[Piece | None]
    ) -> Iterator[tuple[Piece | None, list[NewWindow]]]:
        """The pieces, and the windows that each of them closed."""
        following = iter(pieces)
        while True:
            windows: list[NewWindow] = []
            try:
                piece = next(following)
                if piece:
                    windows = self._stream.push(piece.block)
            except StopIteration:
                return
            except LogLLMError as fault:
                raise UnreadableError(str(fault)) from None
            if piece:
                self._place = piece.place
                self._advance(len(piece.block))
            yield piece, windows

    def _note_rest(self, path: Path) -> None:
        """Let others know that nothing is left to judge, as long as the file does not grow."""
        if self._is_ahead or self._ledger.cursor.pending:
            return
        look = _look(path)
        if look and look.size_bytes == self._place.offset:
            self._note_finished(look)

    def _note_finished(self, look: Look) -> None:
        with writable(self._ledger.folder):
            self._ledger.note_finished(look)

    def _count(self, before: Counts, after: Counts) -> None:
        found = self._detected
        found.num_lines += after.num_lines - before.num_lines
        found.num_unparsed_lines += after.num_unparsed_lines - before.num_unparsed_lines
        found.num_late_lines += after.num_late_lines - before.num_late_lines

    @property
    def _is_ahead(self) -> bool:
        """Whether lines were read that the ledger does not know of."""
        return bool(self._place.as_json() != self._ledger.cursor.place)

    def _restored(self) -> WindowStream:
        """The stream where the ledger left it, with the masking that its open windows have."""
        state, lines = self._ledger.cursor.state, self._ledger.pending
        if state is None:
            return self._opened(self._current.masking, None)
        if lines is None:
            lines = PENDING_LINES.empty_table()
        return self._opened(state["masking"], Pending(state=state["stream"], lines=lines))

    def _opened(self, masking: Masking, pending: Pending | None) -> WindowStream:
        self._masking: Masking = masking
        return WindowStream(self._dataset, masking, source=self._source, pending=pending)

    def _settle(self, windows: Sequence[NewWindow]) -> None:
        """Judge windows, write their verdicts down with the place in the log, tell them."""
        began = time.monotonic()
        judged = self._judged(windows)
        pending = self._stream.pending()
        with self._pace.timed(), writable(self._ledger.folder):
            self._ledger.commit(
                judged,
                place=self._place.as_json(),
                state={"masking": self._masking, "stream": dict(pending.state)},
                pending=pending.lines,
            )
        if windows:
            self._wishes.tell(judged)
            with writable(self._ledger.folder):
                self._ledger.note_told()
        self._settling_seconds += time.monotonic() - began

    def _keep_up(self) -> None:
        """Follow a promotion; a champion that reads lines otherwise begins with their next ones."""
        self._current.renew()
        if self._masking != self._current.masking:
            self._settle(self._stream.close())
            self._stream = self._opened(self._current.masking, self._stream.pending())

    def _judged(self, windows: Sequence[NewWindow]) -> pa.Table:
        found = [tables.NEW_PREDICTIONS.empty_table()]
        for start in range(0, len(windows), BATCH_WINDOWS):
            batch = windows[start : start + BATCH_WINDOWS]
            self._current.renew(only=self._masking)  # these windows are masked already
            judge = self._current.judge
            judgements = judge.judge(batch)
            table = verdicts(
                batch,
                judgements,
                log_id=self._ledger.folder.name,
                source=self._source,
                model=judge.fingerprint,
            )
            found.append(table)
            self._detected.num_windows += len(batch)
            self._detected.num_reused_windows += sum(one.is_reused for one in judgements)
            flagged = [one for one in judgements if one.is_flagged]
            self._detected.num_anomalous_windows += len(flagged)
            self._detected.num_unlocalized_windows += sum(
                one.contributions is None for one in flagged
            )
        return pa.concat_tables(found)


def _look(path: Path) -> Look | None:
    try:
        return Look.at(path)
    except FileNotFoundError:  # it was just rotated
        return None
