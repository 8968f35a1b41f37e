"""Lines in, windows out: a log that has not ended yet is cut into the windows that it will have.

Given a log as a whole, the windows are those of `window_artifact` for one split. Wherever the lines
come from and however they come, in one piece or one by one, with restarts between, they are the
same; only `WindowStream.close` depends on when it is called.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from itertools import islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, SessionLabels
from logllm_core.logs.messages import Masking
from logllm_core.logs.messages.file_messages import check_format, first_reject, texts_of
from logllm_core.logs.messages.log_messages import is_masked_in_parts
from logllm_core.logs.messages.parsing import ParsedBlock, parse_block
from logllm_core.logs.records.line_blocks import Block
from logllm_core.logs.windows.label_column import LabelColumn
from logllm_core.logs.windows.open_lines import (
    ARRIVED,
    CONTENT,
    IS_ALERT,
    NUMBER,
    TEXT,
    TIME,
    UNKNOWN,
    Closed,
    Lines,
)
from logllm_core.logs.windows.open_windows import cutter_of
from logllm_core.store.store import Json

_LATEST = np.iinfo(np.int64).max
_READING = {"line", "labels", "windows"}  # what of a data set's file tells how a log is read


@dataclass(frozen=True, kw_only=True, slots=True)
class NewWindow:
    """Messages that are judged together, of a log that may go on."""

    window_id: int  # unique within the log, from 0, in the order in which windows closed
    session_id: str | None
    line_numbers: tuple[int, ...]
    texts: tuple[str, ...]  # masked messages, in log order, at least one
    contents: tuple[str, ...]  # the messages as logged
    start_time: datetime | None
    end_time: datetime | None
    is_anomalous: bool | None  # None where lines carry no labels
    arrived: float  # time.monotonic() when its last line was read


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What became of a log's lines, since its first."""

    num_lines: int = 0
    num_kept_lines: int = 0
    num_unparsed_lines: int = 0
    num_late_lines: int = 0  # their window, or one of them, had closed
    num_lines_ahead: int = 0  # their time closed no window, as the next line's is far before it
    num_lines_without_time: int = 0
    num_shortened_lines: int = 0  # too long, without their rest
    num_lines_without_session: int = 0  # in no window, where windows are sessions

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            **{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """What a stream knows of its log, and the lines that wait in open windows."""

    state: Mapping[str, Json]
    lines: pa.Table

    def dataset_of(self, dataset: Dataset) -> Dataset:
        """The data set as its file was when the open windows were cut."""
        if self.is_unread or not len(self.lines):
            return dataset
        return Dataset.model_validate(dataset.model_dump(mode="json") | self.state["reading"])

    @property
    def is_unread(self) -> bool:
        """Whether the lines are as they came, and can be read in any way."""
        return self.state["label_column"]["is_there"] is None


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
        if pending and len(pending.lines):
            assert is_as_before or pending.is_unread, "lines wait that were cut otherwise"
            waiting = self._column if pending.is_unread else self._cutter
            waiting.restore(pending.lines, arrived=time.monotonic())

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

    def push(self, block: Block) -> list[NewWindow]:
        """The windows that these lines closed.

        Raises:
            LogLLMError: none of the first lines matches the format, or none tells its time where
                windows are by time.
        """
        self._counts = self._counts.plus(Counts(num_shortened_lines=len(block.cut)))
        ready = self._column.push(block, arrived=time.monotonic())
        return [window for one in ready for window in self._take_in(*one)]

    def close(
        self, older_than_seconds: float = 0.0, *, at_most: int = sys.maxsize
    ) -> list[NewWindow]:
        """Close open windows whose oldest line waits that long; sessions, whose newest line does.

        With 0, all: the log ends. Lines that come later begin windows of their own.

        Args:
            at_most: so many sessions at once; ask again for others, until none is left.
        """
        arrived_by = time.monotonic() - older_than_seconds
        if older_than_seconds <= 0:
            arrived_by = np.inf
        windows = [
            window
            for one in self._column.settle(arrived_by=arrived_by)
            for window in self._take_in(*one)
        ]
        cut = self._cutter.close(arrived_by=arrived_by, at_most=at_most)
        windows += self._windows(cut)
        if arrived_by == np.inf and len(cut.starts) < at_most:
            self._column.reconsider()
        return windows

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
        waiting = self._column if self._column.is_waiting else self._cutter
        return Pending(state=state, lines=waiting.table())

    def _take_in(self, block: Block, arrived: float) -> list[NewWindow]:
        dataset = self._column.settled
        assert dataset is not None, "lines are read before their format is known"
        parsed = parse_block(dataset, block)
        if self._first_reject is None and (reject := first_reject(parsed)):
            self._first_reject = (reject[0], reject[1][:200])
        num_kept, num_rejects = len(parsed.line_numbers), len(parsed.reject_numbers)
        cut = self._cutter.push(_lines(parsed, self._is_masked, arrived), parsed.session_ids)
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
        return self._windows(cut)

    def _windows(self, cut: Closed) -> list[NewWindow]:
        """A window for each stretch of rows; Python objects are made for windows, not for lines."""
        starts, lines = cut.starts, cut.lines
        if not len(starts):
            return []
        begins, ends = _first_and_last(lines[TIME], starts)
        arrived = np.maximum.reduceat(lines[ARRIVED], starts).tolist()
        is_alert = np.logical_or.reduceat(lines[IS_ALERT], starts).tolist()
        numbers, texts, contents = (lines[name].tolist() for name in (NUMBER, TEXT, CONTENT))
        stops = np.append(starts[1:], len(lines)).tolist()
        first_id = self._num_windows
        self._num_windows += len(starts)
        has_labels = self.has_labels
        return [
            NewWindow(
                window_id=first_id + place,
                session_id=cut.session_ids[place] if cut.session_ids else None,
                line_numbers=tuple(numbers[start:stop]),
                texts=tuple(texts[start:stop]),
                contents=tuple(contents[start:stop]),
                start_time=begins[place],
                end_time=ends[place],
                is_anomalous=is_alert[place] if has_labels else None,
                arrived=arrived[place],
            )
            for place, (start, stop) in enumerate(zip(starts.tolist(), stops, strict=True))
        ]


def check_masking(masking: Masking) -> None:
    """Raise a LogLLMError where new lines cannot be masked as those of the training log were."""
    if masking.startswith("drain"):
        raise LogLLMError(
            f"The model was trained with --masking {masking}, whose templates are of the "
            "training log alone; new lines have none. Train one with --masking regex or none."
        )


def masked_anew(windows: Sequence[NewWindow], masking: Masking) -> list[NewWindow]:
    """The same windows for a model that reads lines with another masking."""
    contents = pa.array([line for window in windows for line in window.contents], pa.string())
    texts = iter(texts_of(contents, is_masked=is_masked_in_parts(masking)).to_pylist())
    return [replace(one, texts=tuple(islice(texts, len(one.contents)))) for one in windows]


def reading_of(dataset: Dataset) -> Json:
    """How a data set's file says that lines are read and cut."""
    return dataset.model_dump(mode="json", include=_READING)


def _lines(parsed: ParsedBlock, is_masked: bool, arrived: float) -> Lines:
    texts = texts_of(parsed.contents, is_masked=is_masked)
    distinct = texts.dictionary.to_numpy(zero_copy_only=False)
    times = parsed.times.cast(pa.int64()).fill_null(UNKNOWN)
    return Lines(
        {
            NUMBER: parsed.line_numbers.to_numpy(),
            TIME: times.to_numpy(),
            CONTENT: parsed.contents.to_numpy(zero_copy_only=False),
            TEXT: distinct[texts.indices.to_numpy()],
            IS_ALERT: parsed.alerts.is_valid().to_numpy(zero_copy_only=False),
            ARRIVED: np.full(len(parsed.line_numbers), arrived),
        }
    )


def _first_and_last(
    times: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[list[datetime | None], list[datetime | None]]:
    """First and last known time of each stretch."""
    last = np.maximum.reduceat(times, starts)  # the unknown is the earliest, and NumPy's none
    first = np.minimum.reduceat(np.where(times == UNKNOWN, _LATEST, times), starts)
    first = np.where(last == UNKNOWN, UNKNOWN, first)
    begins, ends = (limits.astype("datetime64[us]").tolist() for limits in (first, last))
    return begins, ends
