"""A stream of a small log, in pieces, and its windows as rows."""

import itertools
from collections.abc import Sequence
from typing import Any

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.records.line_blocks import Block, LineCutter, with_end
from logllm_core.logs.windows.window_stream import NewWindow, Pending, WindowStream


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


def rows_of(windows: Sequence[NewWindow]) -> list[dict[str, Any]]:
    return [{"line_numbers": list(window.line_numbers)} for window in windows]
