"""A stream of a small log, in pieces, and its windows as rows."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.records.line_blocks import Block
from logllm_core.logs.records.line_cutter import LineCutter, with_end
from logllm_core.logs.windows.message_windows import NewWindows
from logllm_core.logs.windows.stream_state import Pending
from logllm_core.logs.windows.window_stream import WindowStream


def blocks_of(log: bytes, cuts: Sequence[int] = ()) -> list[Block]:
    """The log's lines, as they come when its bytes come in such pieces."""
    places = [0, *sorted(cut % (len(log) + 1) for cut in cuts), len(log)]
    cutter = LineCutter()
    blocks: list[Block] = []
    for start, stop in itertools.pairwise(places):
        ended = cutter.push(log[start:stop]) if stop > start else b""
        blocks += _numbered(blocks, ended)
    return blocks + _numbered(blocks, cutter.rest())


def _numbered(before: Sequence[Block], ended: bytes) -> list[Block]:
    number = sum(map(len, before))
    return [Block.of(with_end(ended), first_line_number=number)] if ended else []


def stream_of(dataset: Dataset, pending: Pending | None = None) -> WindowStream:
    return WindowStream(dataset, "regex", source="own.log", pending=pending)


def rows_of(*several: NewWindows) -> list[dict[str, Any]]:
    """Windows as rows, with their messages as they are masked, and as they were logged."""
    rows: list[dict[str, Any]] = []
    for windows in several:
        for row in windows.table.to_pylist():
            row["texts"] = [windows.texts[message] for message in row["message_ids"]]
            rows.append(row)
    return rows


def lines_of(*several: NewWindows | Sequence[dict[str, Any]]) -> list[list[int]]:
    """The line numbers of each window."""
    lots = [rows_of(some) if isinstance(some, NewWindows) else some for some in several]
    return [row["line_numbers"] for rows in lots for row in rows]


def cut(dataset: Dataset, log: bytes, cuts: Sequence[int] = ()) -> list[dict[str, Any]]:
    """All windows of a log."""
    stream = stream_of(dataset)
    return rows_of(*map(stream.push, blocks_of(log, cuts)), stream.close())


def without(rows: Iterable[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]
