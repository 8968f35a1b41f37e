"""Where lines end: bytes of a log as they come, cut into whole lines.

As in Python's text mode, which the reference code uses, LF, CRLF and a lone CR each end a line.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MAX_LINE_BYTES = 16 << 20  # of a line as it is; it takes some twenty times as much to mask it
LF, CR = ord("\n"), ord("\r")
_LINE_END = re.compile(rb"\r\n?|\n")

Positions = NDArray[np.int64]


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
            self.are_cut.append(num_before + with_lf(lines[:start]).count(b"\n"))
            pieces.append(lines[kept_up_to : start + self._max_line_bytes])
            kept_up_to = end
        return b"".join([*pieces, lines[kept_up_to:]])


def with_end(rest: bytes) -> bytes:
    """A log's last line, which may lack its end."""
    return rest if rest.endswith((b"\n", b"\r")) else rest + b"\n"


def ended_by_lone_cr(block: bytes) -> Positions:
    """Which lines a lone CR ends."""
    if b"\r" not in block:
        return np.empty(0, dtype=np.int64)
    codes = np.frombuffer(block, dtype=np.uint8)
    feeds = np.flatnonzero(codes == LF)
    returns = np.flatnonzero(codes == CR)
    lone = returns[np.append(codes, CR)[returns + 1] != LF]
    numbers: Positions = np.searchsorted(feeds, lone) + np.arange(len(lone))
    return numbers


def with_lf(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block
