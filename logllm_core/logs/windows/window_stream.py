"""Lines in, windows out: a log that has not ended yet is cut into the windows that it will have.

Given a log as a whole, the windows are those of `window_artifact` for one split, with ids of the
stream's own messages, however the lines come: in one piece or one by one, with restarts between.
Only `WindowStream.close` depends on when it is called. A window that has closed stays closed: what
comes for it later, late lines of its time or session, makes a further one.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, SessionLabels
from logllm_core.logs.messages import Masking
from logllm_core.logs.messages.file_messages import check_format, first_reject, texts_of
from logllm_core.logs.messages.log_messages import is_masked_in_parts
from logllm_core.logs.messages.parsing import ParsedBlock, parse_block
from logllm_core.logs.messages.vocabulary import Vocabulary
from logllm_core.logs.records.line_blocks import Block
from logllm_core.logs.windows.label_column import LabelColumn
from logllm_core.logs.windows.message_windows import NEW_WINDOWS, NewWindows, lists_of, window_table
from logllm_core.logs.windows.open_lines import (
    ARRIVED,
    CONTENT,
    IS_ALERT,
    MESSAGE,
    NUMBER,
    STRINGS,
    TEXT,
    TIME,
    UNKNOWN,
    Closed,
    Lines,
    from_table,
    texts_of_lines,
)
from logllm_core.logs.windows.open_windows import cutter_of
from logllm_core.logs.windows.stream_state import Counts, Pending, reading_of

_NO_WINDOWS = NEW_WINDOWS.empty_table()
MAX_MESSAGES = 200_000  # that are known beside those of open lines: some 50 MB


class WindowStream:
    """The windows of one log, as its lines come.

    Lines are parsed and masked as those of the training log were; `line_slice` is that log's alone.
    Where lines would carry their label in a field, the first ones tell whether they do here; until
    that is settled they wait.
    """

    def __init__(
        self, dataset: Dataset, masking: Masking, *, source: str, pending: Pending | None = None
    ) -> None:
        """Begin, or go on where `pending` was taken.

        Args:
            source: how errors name the log.

        Where the data set's file was changed since, no lines may wait that were cut as it said
        then: see `Pending.dataset_of`.

        Raises:
            LogLLMError: the masking is Drain's.
        """
        check_masking(masking)
        self.reading = reading_of(dataset)
        state = pending.state if pending else {}
        is_as_before = state.get("reading") == self.reading
        self._dataset = dataset
        self._is_masked = is_masked_in_parts(masking)
        self._source = source
        self._counts = Counts(**state.get("counts", {}))
        self._first_reject = state.get("first_reject")
        self._num_windows: int = state.get("num_windows", 0)
        self._cutter = cutter_of(dataset.windows, state["windows"] if is_as_before else {})
        self._column = LabelColumn(dataset, **(state["label_column"] if is_as_before else {}))
        self._vocabulary = Vocabulary()
        self._most_messages = MAX_MESSAGES
        if pending and len(pending.lines):
            assert is_as_before or pending.is_unread, "lines wait that were cut otherwise"
            self._restore(pending)

    @property
    def counts(self) -> Counts:
        return self._counts

    @property
    def has_labels(self) -> bool | None:
        """Whether lines carry labels; None while the first lines have not told."""
        dataset = self._column.settled
        if dataset is None:
            return None
        return dataset.labels is not None and not isinstance(dataset.labels, SessionLabels)

    def push(self, block: Block) -> NewWindows:
        """The windows that these lines closed.

        Raises:
            LogLLMError: none of the first lines matches the format, or none tells its time where
                windows are by time.
        """
        self._counts = self._counts.plus(Counts(num_shortened_lines=len(block.cut)))
        if len(self._vocabulary) > self._most_messages:
            self._forget_messages()
        ready = self._column.push(block, arrived=time.monotonic())
        return self._windows([self._take_in(*lines) for lines in ready])

    def close(self, older_than_seconds: float = 0.0, *, at_most: int = sys.maxsize) -> NewWindows:
        """Close open windows whose oldest line waits that long; sessions, whose newest line does.

        With 0, all: the log ends. Lines that come later begin windows of their own.

        Args:
            at_most: so many sessions at once; ask again for others, until none is left.
        """
        arrived_by = time.monotonic() - older_than_seconds
        if older_than_seconds <= 0:
            arrived_by = np.inf
        ready = self._column.settle(arrived_by=arrived_by)
        closed = [self._take_in(*lines) for lines in ready]
        closed.append(self._cutter.close(arrived_by=arrived_by, at_most=at_most))
        if arrived_by == np.inf and len(closed[-1].starts) < at_most:
            self._column.reconsider()
        return self._windows(closed)

    def pending(self) -> Pending:
        """What `__init__` goes on from, exactly; arrivals are counted from then on."""
        state = {
            "reading": self.reading,
            "counts": asdict(self._counts),
            "first_reject": self._first_reject,
            "num_windows": self._num_windows,
            "windows": self._cutter.state(),
            "label_column": self._column.state(),
        }
        if self._column.is_waiting:
            return Pending(state=state, lines=self._column.table())
        lines = self._cutter.lines().table(self._vocabulary.texts)
        return Pending(state=state, lines=lines)

    def _restore(self, pending: Pending) -> None:
        arrived = time.monotonic()
        if pending.is_unread:
            self._column.restore(pending.lines, arrived=arrived)
            return
        texts = pending.lines[TEXT].combine_chunks().dictionary_encode()
        numbers = pending.lines[NUMBER].to_numpy()
        ids = self._vocabulary.add_lines(texts.dictionary, texts.indices.to_numpy(), numbers)
        self._cutter.restore(from_table(pending.lines, ids, arrived=arrived))

    def _forget_messages(self) -> None:
        """All that no open line carries; the others are numbered anew."""
        before, self._vocabulary = self._vocabulary.texts, Vocabulary()

        def renumbered(lines: Lines) -> Lines:
            texts = texts_of_lines(lines[MESSAGE], before)
            ids = self._vocabulary.add_lines(
                texts.dictionary, texts.indices.to_numpy(), lines[NUMBER]
            )
            return lines.having(**{MESSAGE: ids})

        self._cutter.change(renumbered)
        self._most_messages = MAX_MESSAGES + len(self._vocabulary)

    def _take_in(self, block: Block, arrived: float) -> Closed:
        dataset = self._column.settled
        assert dataset is not None, "lines are read before their format is known"
        parsed = parse_block(dataset, block)
        if self._first_reject is None and (reject := first_reject(parsed)):
            self._first_reject = (reject[0], reject[1][:200])
        num_kept, num_rejects = len(parsed.line_numbers), len(parsed.reject_numbers)
        cut = self._cutter.push(self._lines(parsed, arrived), parsed.session_ids)
        self._counts = self._counts.plus(
            Counts(
                num_lines=num_kept + num_rejects,
                num_kept_lines=num_kept,
                num_unparsed_lines=num_rejects,
                num_late_lines=cut.num_late_lines,
                num_lines_ahead=cut.num_lines_ahead,
                num_lines_without_time=parsed.times.null_count if dataset.line.time_format else 0,
                num_lines_without_session=cut.num_lines_without_session,
            )
        )
        check_format(
            dataset,
            self._source,
            num_kept=self._counts.num_kept_lines,
            num_rejects=self._counts.num_unparsed_lines,
            first_reject=self._first_reject,
        )
        return cut

    def _lines(self, parsed: ParsedBlock, arrived: float) -> Lines:
        texts = texts_of(parsed.contents, is_masked=self._is_masked)
        numbers = parsed.line_numbers.to_numpy()
        return Lines(
            {
                NUMBER: numbers,
                TIME: parsed.times.cast(pa.int64()).fill_null(UNKNOWN).to_numpy(),
                CONTENT: parsed.contents.cast(STRINGS),
                MESSAGE: self._vocabulary.add_lines(
                    texts.dictionary, texts.indices.to_numpy(), numbers
                ),
                IS_ALERT: parsed.alerts.is_valid().to_numpy(zero_copy_only=False),
                ARRIVED: np.full(len(numbers), arrived),
            }
        )

    def _windows(self, closed: Sequence[Closed]) -> NewWindows:
        """A row for each stretch of lines, numbered on."""
        rows = [self._rows(cut) for cut in closed if len(cut.starts)]
        table = pa.concat_tables(rows) if rows else _NO_WINDOWS
        return NewWindows(table=table, texts=self._vocabulary.texts)

    def _rows(self, cut: Closed) -> pa.Table:
        lines, starts = cut.lines, cut.starts
        times = pa.array(lines[TIME], mask=lines[TIME] == UNKNOWN)
        columns = {name: lines[name] for name in (MESSAGE, NUMBER, IS_ALERT)}
        table = window_table(
            pa.table({**columns, TIME: times.cast(pa.timestamp("us"))}),
            starts,
            first_id=self._num_windows,
            has_labels=bool(self.has_labels),
        )
        self._num_windows += len(starts)
        if cut.session_ids is not None:
            column = table.schema.get_field_index("session_id")
            table = table.set_column(column, "session_id", pa.array(cut.session_ids, pa.string()))
        offsets = pa.array(np.append(starts, len(lines)).astype(np.int32))
        return table.append_column("contents", lists_of(offsets, lines[CONTENT])).cast(NEW_WINDOWS)


def check_masking(masking: Masking) -> None:
    """Raise a LogLLMError where new lines cannot be masked as those of the training log were."""
    if masking.startswith("drain"):
        raise LogLLMError(
            f"The model was trained with --masking {masking}, whose templates are of the "
            "training log alone; new lines have none. Train one with --masking regex or none."
        )
