"""A raw log as blocks of lines: bounded memory, and no Python object for a line.

Logs are not UTF-8: bytes are read as latin-1, so every byte has a character. As in Python's text
mode, which the reference code uses, LF, CRLF and a lone CR each end a line.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BLOCK_BYTES = 4 << 20  # of the log; what is made of it should stay near the processor
MAX_LINE_BYTES = 16 << 20  # of a line as it is; it takes some twenty times as much to mask it
LF, CR = ord("\n"), ord("\r")
_LINE_END = re.compile(rb"\r\n?|\n")
_CONTROLS = bytes(code for code in (*range(32), 127) if code not in (ord("\t"), LF))

Positions = NDArray[np.int64]


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
            text=_with_lf(ended),
            returned=_returned(ended),
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
        places = np.stack([starts, stops], axis=1).ravel()
        offsets = pa.py_buffer(places.astype(np.int32))
        buffers = [None, offsets, pa.py_buffer(self.text)]
        with_gaps = pa.Array.from_buffers(pa.binary(), len(places) - 1, buffers)
        return _decoded(with_gaps.take(pa.array(np.arange(0, len(places) - 1, 2))))

    def part(self, start: int, stop: int) -> Self:
        """The lines from number `start` up to `stop` of those in this block."""
        first = self.first_line_number
        if start <= first and stop >= first + len(self):
            return self
        begin = int(self.line_ends[start - first - 1]) + 1 if start > first else 0
        end = int(self.line_ends[min(stop - first, len(self)) - 1]) + 1
        number = max(start, first)

        def within(places: Positions) -> Positions:
            numbers = places + first
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
        places = np.frombuffer(offsets, dtype=np.int32)
        offsets = pa.py_buffer(places + np.searchsorted(beyond, places).astype(np.int32))
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
        text = _with_lf(ended)
        if first < start:  # passed over as fast as lines can be counted
            num_lines = text.count(b"\n")
            if first + num_lines <= start:
                first += num_lines
                skipped(num_lines)
                continue
        cut = np.array(are_cut, dtype=np.int64)
        block = Block(first_line_number=first, text=text, returned=_returned(ended), cut=cut)
        first += len(block)
        yield block.part(start, first if stop is None else stop)
        if stop is not None and first >= stop:
            return


class LineCutter:
    """Cuts bytes behind the last line's end that has come, and keeps what follows it.

    What is beyond `max_line_bytes` of a line, its end aside, is passed over as it comes, so that no
    line fills the memory.

    Args:
        passed: is given all bytes, as they are in the log, up to the end of what `push` or `rest`
            gave, and of a line that is too long as it comes.
    """

    def __init__(
        self,
        max_line_bytes: int = MAX_LINE_BYTES,
        *,
        passed: Callable[[bytes], object] = lambda raw: None,
    ) -> None:
        self.are_cut: list[int] = []  # of the lines that were given last: those that were too long
        self._max_line_bytes = max_line_bytes
        self._passed = passed
        self._begin: bytes | None = None  # of a line that is too long and has not ended
        self._pending: list[bytes] = []
        self._num_pending = 0

    def push(self, chunk: bytes) -> bytes:
        """Whole lines, as they end in the log; none where no line's end has come."""
        self.are_cut = []
        if self._pending and self._pending[-1].endswith(b"\r"):  # perhaps the first half of CRLF
            self._num_pending -= len(self._pending[-1])
            chunk = self._pending.pop() + chunk
        ended = b""
        if self._begin is not None:
            ended, chunk = self._end_of_long_line(chunk)
        lines, rest = self._whole(chunk)
        self._keep(rest)
        return ended + self._shortened(lines, num_before=len(self.are_cut))

    def rest(self) -> bytes:
        """The last line of a log that ends here; nothing where it has ended before."""
        self.are_cut = [] if self._begin is None else [0]
        pending, begin = b"".join(self._pending), self._begin or b""
        self._passed(pending)
        self._pending, self._num_pending, self._begin = [], 0, None
        return begin + pending

    def _whole(self, chunk: bytes) -> tuple[bytes, bytes]:
        """Whole lines with what is pending of the first, and what follows the last."""
        cut = max(chunk.rfind(b"\n"), chunk.rfind(b"\r", 0, max(len(chunk) - 1, 0))) + 1
        if cut == 0:
            return b"", chunk
        lines = b"".join([*self._pending, memoryview(chunk)[:cut]])
        self._passed(lines)
        self._pending, self._num_pending = [], 0
        return lines, chunk[cut:]

    def _keep(self, rest: bytes) -> None:
        """The begin of a line that has not ended."""
        if not rest:
            return
        self._pending.append(rest)
        self._num_pending += len(rest)
        if self._begin is None and self._num_pending <= self._max_line_bytes:
            return
        whole = b"".join(self._pending)
        line = whole.removesuffix(b"\r")  # which may be its end
        if self._begin is None and len(line) <= self._max_line_bytes:
            return
        if self._begin is None:
            self._begin = line[: self._max_line_bytes]
        self._passed(line)
        self._pending = [b"\r"] if len(line) < len(whole) else []
        self._num_pending = len(self._pending)

    def _end_of_long_line(self, chunk: bytes) -> tuple[bytes, bytes]:
        """The line, once it ends, and what follows it."""
        end = _LINE_END.search(chunk)
        if end is None or (end[0] == b"\r" and end.end() == len(chunk)):
            return b"", chunk
        assert self._begin is not None
        line, self._begin, self.are_cut = self._begin + end[0], None, [0]
        self._passed(chunk[: end.end()])
        return line, chunk[end.end() :]

    def _shortened(self, lines: bytes, *, num_before: int) -> bytes:
        if len(lines) <= self._max_line_bytes:
            return lines
        codes = np.frombuffer(lines, dtype=np.uint8)
        ends = np.flatnonzero((codes == LF) | (codes == CR))
        starts = np.append(0, ends[:-1] + 1)
        is_long = ends - starts > self._max_line_bytes
        pieces, kept_up_to = [], 0
        for start, end in zip(starts[is_long].tolist(), ends[is_long].tolist(), strict=True):
            self.are_cut.append(num_before + _with_lf(lines[:start]).count(b"\n"))
            pieces.append(lines[kept_up_to : start + self._max_line_bytes])
            kept_up_to = end
        return b"".join([*pieces, lines[kept_up_to:]])


def with_end(rest: bytes) -> bytes:
    """A log's last line, which may lack its end."""
    return rest if rest.endswith((b"\n", b"\r")) else rest + b"\n"


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


def _returned(block: bytes) -> Positions:
    """Which lines a lone CR ends."""
    if b"\r" not in block:
        return np.empty(0, dtype=np.int64)
    codes = np.frombuffer(block, dtype=np.uint8)
    feeds = np.flatnonzero(codes == LF)
    returns = np.flatnonzero(codes == CR)
    lone = returns[np.append(codes, CR)[returns + 1] != LF]
    places: Positions = np.searchsorted(feeds, lone) + np.arange(len(lone))
    return places


def _with_lf(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block
