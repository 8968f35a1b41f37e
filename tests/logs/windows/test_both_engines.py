"""The windows of a whole log and those of a stream of it, held to one plain statement each.

`tests/logs/plain.py` says what windows are. Both ways give these, but for what a stream cannot
know: that a line will come for a window by time that has closed. `tests/logs/plain_stream.py` says
what it does then. That nothing else differs is shown here on drawn logs: lines late, without a time
and far ahead, sessions that resume, windows that overlap, logs that come in any pieces.
"""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core import tables
from logllm_core.logs.catalog.catalog import Dataset, TimeWindows
from logllm_core.logs.windows import open_time_windows
from logllm_core.logs.windows.splits import SPLITS
from logllm_core.logs.windows.window_artifact import cut_messages
from logllm_core.store.database import bounded_connection
from tests.logs.plain import PlainMessage, PlainWindow, plain_messages, plain_prepare
from tests.logs.plain_stream import plain_spans
from tests.logs.samples import labelled_by_line, lines_as_python_reads_them
from tests.logs.windows.streams import blocks_of, rows_of, stream_of, without

OWN = Path("own.log")
SESSIONS = {
    "fields": ["label", "epoch", "content"],
    "session_pattern": "[a-z]",
    "time_fields": ["epoch"],
    "time_format": "epoch",
}


def cut_by(windows: dict[str, Any], **changes: Any) -> Dataset:
    return labelled_by_line(OWN, windows=windows, train_fraction=0.6, **changes)


def by_time(length: int, step: int) -> Dataset:
    return cut_by({"kind": "time", "length_seconds": length, "step_seconds": step})


KINDS: dict[str, Dataset] = {
    "count": cut_by({"kind": "count", "length": 4}),
    "count, overlapping": cut_by({"kind": "count", "length": 5, "step": 2}),
    "time": by_time(10, 10),
    "time, overlapping": by_time(20, 5),
    "sessions": cut_by({"kind": "session"}, line=SESSIONS),
}
LABELS = st.sampled_from(["-", "-", "KERN"])
TIMES = st.one_of(
    st.integers(0, 12).map(lambda gap: ("after", gap)),  # seconds after the line before
    st.integers(0, 60).map(lambda gap: ("late", gap)),  # so many before it, and then on as before
    st.integers(0, 60).map(lambda gap: ("back", gap)),  # the clock is set back
    st.just(("ahead", 7_258_118_400)),  # the year 2200, in one line
    st.just(("none", 0)),
)
CONTENTS = st.sampled_from(["a up", "b up", "a b 7", "link 12 down", "UP 3"])
LINES = st.lists(st.tuples(LABELS, TIMES, CONTENTS), max_size=40)
CUTS = st.lists(st.integers(0, 2_000), max_size=6)


def log_of(lines: Sequence[tuple[str, tuple[str, int], str]]) -> bytes:
    """The lines after three that tell that there are labels, a time, and a session."""
    clock, written = 1_000_000, ["- 1000000 a up"] * 3
    for label, (kind, gap), content in lines:
        times = {"after": clock + gap, "late": clock - gap, "back": clock - gap, "ahead": gap}
        written.append(f"{label} {times.get(kind, '?')} {content}")
        clock = times[kind] if kind in ("after", "back") else clock
    return "".join(f"{line}\n" for line in written).encode()


def prepared_rows(
    dataset: Dataset, log: bytes, *, validation_fraction: float = 0.0
) -> dict[str, list[dict[str, Any]]]:
    """The windows of each split, as DuckDB cuts them."""
    messages, _, _ = plain_messages(dataset, lines_as_python_reads_them(log))
    columns = {name: [getattr(m, name) for m in messages] for name in tables.MESSAGES.names}
    with bounded_connection() as connection:
        table = pa.table(columns, schema=tables.MESSAGES)
        connection.from_arrow(table).create_view("messages")
        _, runs = cut_messages(connection, dataset, validation_fraction)
        found = [(int(split), row) for run in runs for split, row in _rows(run.splits, run.windows)]
    return {name: [row for split, row in found if split == n] for n, name in enumerate(SPLITS)}


def _rows(splits: Any, windows: pa.Table) -> Iterable[tuple[Any, dict[str, Any]]]:
    return zip(splits, windows.to_pylist(), strict=True)


def row_of(window: PlainWindow) -> dict[str, Any]:
    lists = {"message_ids", "line_numbers", "alerts"}
    return {
        name: list(value) if name in lists and value is not None else value
        for name in tables.WINDOWS.names
        for value in [getattr(window, name)]
    }


def streamed_rows(dataset: Dataset, log: bytes, cuts: Sequence[int]) -> tuple[list[Any], int]:
    """All windows of a log that comes in pieces, with a restart after each; and late lines."""
    stream, found = stream_of(dataset), []
    for block in blocks_of(log, cuts):
        found += rows_of(stream.push(block))
        stream = stream_of(dataset, stream.pending())
    found += rows_of(stream.close())
    return without(found, "message_ids", "contents"), stream.counts.num_late_lines


def plain_rows(dataset: Dataset, log: bytes) -> list[dict[str, Any]]:
    """The windows of a whole log, of one split; messages as text, as streams number their own."""
    whole = dataset.model_copy(update={"train_fraction": 1.0})
    plain = plain_prepare(whole, lines_as_python_reads_them(log))
    rows = [row_of(window) for window in plain.windows["train"]]
    for row in rows:
        row["texts"] = [plain.vocabulary[message] for message in row["message_ids"]]
    return without(rows, "message_ids")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(lines=LINES, validation_fraction=st.sampled_from([0.0, 0.3]))
def test_a_whole_logs_windows_are_those_of_the_plain_statement(
    kind: str, lines: list[Any], validation_fraction: float
) -> None:
    dataset, log = KINDS[kind], log_of(lines)
    found = prepared_rows(dataset, log, validation_fraction=validation_fraction)
    wanted = plain_prepare(
        dataset, lines_as_python_reads_them(log), validation_fraction=validation_fraction
    ).windows
    assert found == {split: list(map(row_of, windows)) for split, windows in wanted.items()}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(lines=LINES, cuts=CUTS)
def test_a_streams_windows_are_those_of_the_whole_log_unless_a_line_is_late(
    kind: str, lines: list[Any], cuts: list[int]
) -> None:
    dataset, log = KINDS[kind], log_of(lines)
    found, num_late_lines = streamed_rows(dataset, log, cuts)
    if not num_late_lines:
        assert found == plain_rows(dataset, log)
    assert num_late_lines == 0 or isinstance(dataset.windows, TimeWindows)


@pytest.mark.parametrize(("length", "step"), [(10, 10), (20, 5)])
@pytest.mark.parametrize("most_behind", [3, 1_000])
@settings(max_examples=40, deadline=None)
@given(lines=LINES, cuts=CUTS)
def test_late_lines_make_further_windows_of_their_span_and_change_nothing_else(
    length: int, step: int, most_behind: int, lines: list[Any], cuts: list[int]
) -> None:
    dataset, log = by_time(length, step), log_of(lines)
    messages, _, _ = plain_messages(dataset, lines_as_python_reads_them(log))
    spans = plain_spans(messages, length, step, most_behind=most_behind)
    with patch.object(open_time_windows, "MAX_LINES_BEHIND", most_behind):
        found, num_late_lines = streamed_rows(dataset, log, cuts)
    assert lines_of(found) == [[line.line_number for line in lines] for _, lines in spans.closed]
    assert num_late_lines == spans.num_late
    assert joined(spans.closed) == lines_of(plain_rows(dataset, log))


def lines_of(rows: Iterable[dict[str, Any]]) -> list[list[int]]:
    return [row["line_numbers"] for row in rows]


def joined(closed: Sequence[tuple[int, list[PlainMessage]]]) -> list[list[int]]:
    """The lines of all windows of each span, spans in order."""
    by_begin = sorted(closed, key=lambda window: window[0])
    groups = itertools.groupby(by_begin, key=lambda window: window[0])
    return [sorted(line.line_number for _, lines in group for line in lines) for _, group in groups]
