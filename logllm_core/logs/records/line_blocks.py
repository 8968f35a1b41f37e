"""A raw log as blocks of lines: bounded memory, and no Python object for a line.

Logs are not UTF-8: bytes are read as latin-1, so every byte has a character.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core.logs.records.line_cutter import (
    LF,
    MAX_LINE_BYTES,
    LineCutter,
    Positions,
    ended_by_lone_cr,
    with_end,
    with_lf,
)

BLOCK_BYTES = 4 << 20  # of the log; what is made of it should stay near the processor
_CONTROLS = bytes(code for code in (*range(32), 127) if code not in (ord("\t"), LF))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive lines of a raw file, each ended by LF."""

    first_line_number: int  # 0-based
    text: bytes
    returned: Positions = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Which of the lines a lone CR ended, counted from the block's first."""
    cut: Positions = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Which of the lines were too long."""

    @classmethod
    def of(cls, ended: bytes, *, first_line_number: int, are_cut: Sequence[int] = ()) -> Self:
        """Lines that end as they do in the log, by LF, CRLF or a lone CR."""
        return cls(
            first_line_number=first_line_number,
            text=with_lf(ended),
            returned=ended_by_lone_cr(ended),
            cut=np.array(are_cut, dtype=np.int64),
        )

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.text, dtype=np.uint8)

    @cached_property
    def line_ends(self) -> Positions:
        """Where each line's LF stands."""
        return np.flatnonzero(self.codes == LF)

    @cached_property
    def line_starts(self) -> Positions:
        return np.concatenate([[0], self.line_ends[:-1] + 1])

    def __len__(self) -> int:
        return len(self.line_ends)

    @property
    def num_lines_beyond_ascii(self) -> int:
        """How many lines hold a byte of 0x80 or more."""
        return 0 if self.text.isascii() else self._num_lines_with(self.codes >= 0x80)

    @property
    def num_lines_with_controls(self) -> int:
        """How many lines hold a control character of ASCII other than a tab."""
        if len(self.text.translate(None, _CONTROLS)) == len(self.text):
            return 0
        is_control = np.zeros(256, dtype=bool)
        is_control[list(_CONTROLS)] = True
        return self._num_lines_with(is_control[self.codes])

    def _num_lines_with(self, is_odd: NDArray[np.bool_]) -> int:
        return len(np.unique(np.searchsorted(self.line_ends, np.flatnonzero(is_odd))))

    def texts(self, starts: Positions, stops: Positions) -> pa.StringArray:
        """Stretches of the block as text: `starts[i]` up to `stops[i]`, ascending, not nested.

        No Python object is made for them: they and the gaps between them are read as one array of
        bytes over the block, and the gaps are left behind.
        """
        if not len(starts):
            return pa.array([], pa.string())
        bounds = np.stack([starts, stops], axis=1).ravel()
        offsets = pa.py_buffer(bounds.astype(np.int32))
        buffers = [None, offsets, pa.py_buffer(self.text)]
        with_gaps = pa.Array.from_buffers(pa.binary(), len(bounds) - 1, buffers)
        return _decoded(with_gaps.take(pa.array(np.arange(0, len(bounds) - 1, 2))))

    def part(self, start: int, stop: int) -> Self:
        """The lines from number `start` up to `stop` of those in this block."""
        first = self.first_line_number
        if start <= first and stop >= first + len(self):
            return self
        begin = int(self.line_ends[start - first - 1]) + 1 if start > first else 0
        end = int(self.line_ends[min(stop - first, len(self)) - 1]) + 1
        number = max(start, first)

        def within(chosen: Positions) -> Positions:
            numbers = chosen + first
            return numbers[(numbers >= start) & (numbers < stop)] - number

        return type(self)(
            first_line_number=number,
            text=self.text[begin:end],
            returned=within(self.returned),
            cut=within(self.cut),
        )

    def lines(self, chosen: NDArray[np.bool_] | slice = slice(None)) -> pa.StringArray:
        """Whole lines, without their LF."""
        return self.texts(self.line_starts[chosen], self.line_ends[chosen])


def as_logged(text: str) -> str:
    """Text from elsewhere as it reads in a log that holds its bytes in UTF-8.

    Bytes that are no UTF-8, and were read with `surrogateescape`, read as they do in the log.
    """
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _decoded(texts: pa.BinaryArray) -> pa.StringArray:
    """Latin-1 bytes as text."""
    _, offsets, codes = texts.buffers()
    if codes is None:  # all are empty
        return texts.cast(pa.string())
    text = codes.to_pybytes()
    if not text.isascii():  # what lies beyond takes two bytes in UTF-8
        beyond = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) >= 0x80)
        starts = np.frombuffer(offsets, dtype=np.int32)
        offsets = pa.py_buffer(starts + np.searchsorted(beyond, starts).astype(np.int32))
        codes = pa.py_buffer(text.decode("latin-1").encode("utf-8"))
    return pa.StringArray.from_buffers(len(texts), offsets, codes)


def read_blocks(
    stream: BinaryIO,
    line_slice: tuple[int, int] | None = None,
    block_bytes: int = BLOCK_BYTES,
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    skipped: Callable[[int], object] = lambda num_lines: None,
) -> Iterator[Block]:
    """The lines of a file, or of a slice of it, block by block.

    Reads no further than the end of `line_slice`; memory is bounded by a block and the longest
    line. What is beyond `max_line_bytes` of a line is cut, see `Block.cut`.
    """
    start, stop = line_slice or (0, None)
    first = 0
    for ended, are_cut in _whole_lines(stream, block_bytes, max_line_bytes):
        text = with_lf(ended)
        if first < start:  # passed over as fast as lines can be counted
            num_lines = text.count(b"\n")
            if first + num_lines <= start:
                first += num_lines
                skipped(num_lines)
                continue
        cut = np.array(are_cut, dtype=np.int64)
        block = Block(first_line_number=first, text=text, returned=ended_by_lone_cr(ended), cut=cut)
        first += len(block)
        yield block.part(start, first if stop is None else stop)
        if stop is not None and first >= stop:
            return


def _whole_lines(
    stream: BinaryIO, block_bytes: int, max_line_bytes: int
) -> Iterator[tuple[bytes, list[int]]]:
    """Blocks that end with a line's end, and which of their lines were too long."""
    cutter = LineCutter(max_line_bytes)
    while chunk := stream.read(block_bytes):
        if lines := cutter.push(chunk):
            yield lines, cutter.are_cut
    if rest := cutter.rest():
        yield with_end(rest), cutter.are_cut
