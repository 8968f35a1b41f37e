"""Windows as rows of tables.WINDOWS: how they are put together, and those of a log that grows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.logs.messages import Masking
from logllm_core.logs.messages.file_messages import texts_of
from logllm_core.logs.messages.log_messages import is_masked_in_parts
from logllm_core.logs.messages.vocabulary import MessageIds, Vocabulary

# The messages as logged, line by line, beside what is known of all windows.
NEW_WINDOWS = tables.WINDOWS.append(pa.field("contents", pa.list_(pa.large_string())))
_LATEST, _EARLIEST = np.iinfo(np.int64).max, np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True, slots=True)
class NewWindows:
    """Windows that have closed in a log that may go on, with their messages.

    Args:
        table: as in NEW_WINDOWS; window ids count up from 0, in the order of closing.
        texts: masked messages by their ids; others may stand there as well.
    """

    table: pa.Table
    texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.table)

    def slice(self, start: int, length: int) -> Self:
        return type(self)(table=self.table.slice(start, length), texts=self.texts)

    @property
    def message_ids(self) -> MessageIds:
        """Of all lines, window by window."""
        ids: MessageIds = self.table["message_ids"].combine_chunks().flatten().to_numpy()
        return ids

    @property
    def line_numbers(self) -> NDArray[np.int64]:
        """Of all lines, window by window."""
        numbers: NDArray[np.int64] = (
            self.table["line_numbers"].combine_chunks().flatten().to_numpy()
        )
        return numbers

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each window's lines begin among those of all, and where the last one's end."""
        lengths = self.table["line_numbers"].combine_chunks().value_lengths()
        return np.append(0, np.cumsum(lengths.to_numpy()))

    def content(self, window: int, line: int) -> str:
        """One message as logged, by its window and its line there."""
        text: str = self.table["contents"][window].values[line].as_py()
        return text

    def masked_anew(self, masking: Masking) -> Self:
        """The same windows for a model that reads lines with another masking."""
        contents = self.table["contents"].combine_chunks().flatten().cast(pa.string())
        texts = texts_of(contents, is_masked=is_masked_in_parts(masking))
        vocabulary = Vocabulary()
        row_of = texts.indices.to_numpy()
        ids = vocabulary.add_lines(texts.dictionary, row_of, self.line_numbers)
        column = self.table.schema.get_field_index("message_ids")
        lists = pa.ListArray.from_arrays(self.starts.astype(np.int32), pa.array(ids))
        table = self.table.set_column(column, tables.WINDOWS.field("message_ids"), lists)
        return type(self)(table=table, texts=vocabulary.texts)


def joined(several: Sequence[NewWindows]) -> NewWindows:
    """Windows of one stream, one lot after another."""
    assert len({id(windows.texts) for windows in several}) == 1, "ids of several vocabularies"
    return NewWindows(
        table=pa.concat_tables([windows.table for windows in several]),
        texts=several[0].texts,
    )


def window_table(
    lines: pa.Table, starts: NDArray[np.int64], *, first_id: int, has_labels: bool
) -> pa.Table:
    """Stretches of lines as rows of tables.WINDOWS, sessions not named.

    Lists are made from the lines' columns and the rows where windows begin; no Python object
    is made for a line.

    Args:
        lines: `message_id`, `line_number`, `is_alert` and `time`, window by window.
        starts: where each window begins; at least one.
        has_labels: whether `is_alert` says anything.
    """
    lines = lines.combine_chunks()
    line_numbers = lines["line_number"].to_numpy()
    is_next = np.ones(len(lines), dtype=bool)  # a line may come again in the next window
    is_next[1:] = line_numbers[1:] > line_numbers[:-1]
    is_next[starts] = True
    assert is_next.all(), "a window's lines came out of log order"
    offsets = pa.array(np.append(starts, len(lines)).astype(np.int32))
    columns = {
        "window_id": np.arange(first_id, first_id + len(starts)),
        "session_id": pa.nulls(len(starts), pa.string()),
        "message_ids": lists_of(offsets, lines["message_id"]),
        "line_numbers": lists_of(offsets, lines["line_number"]),
        "alerts": pa.nulls(len(starts), pa.list_(pa.bool_())),
        "is_anomalous": pa.nulls(len(starts), pa.bool_()),
        **_times(lines["time"], starts),
    }
    if has_labels:
        columns["alerts"] = lists_of(offsets, lines["is_alert"])
        is_alert = lines["is_alert"].to_numpy(zero_copy_only=False).astype(bool)
        columns["is_anomalous"] = np.logical_or.reduceat(is_alert, starts)
    return pa.table([columns[name] for name in tables.WINDOWS.names], schema=tables.WINDOWS)


def lists_of(offsets: pa.Int32Array, values: pa.Array | pa.ChunkedArray) -> pa.ListArray:
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return pa.ListArray.from_arrays(offsets, whole)


def tuples_of(ids: NDArray[np.integer], starts: NDArray[np.int64]) -> Iterator[tuple[int, ...]]:
    """The ids of each window, of all lines' ids and where windows begin and the last one ends."""
    values = ids.tolist()
    return (tuple(values[start:stop]) for start, stop in pairwise(starts.tolist()))


def _times(times: pa.ChunkedArray, starts: NDArray[np.int64]) -> dict[str, pa.Array]:
    """First and last known time of each window."""
    is_known = times.is_valid().to_numpy()
    known = times.cast(pa.int64()).fill_null(0).to_numpy()
    first = np.minimum.reduceat(np.where(is_known, known, _LATEST), starts)
    last = np.maximum.reduceat(np.where(is_known, known, _EARLIEST), starts)
    return {
        "start_time": pa.array(first, mask=first == _LATEST).cast(pa.timestamp("us")),
        "end_time": pa.array(last, mask=last == _EARLIEST).cast(pa.timestamp("us")),
    }
