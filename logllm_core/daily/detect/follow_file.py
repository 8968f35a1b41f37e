"""A log's bytes as they come: of a file as it is, of a file that grows, of a pipe.

A log is its content, not its name. `Place` says how far it was read, and recognises it wherever it
lies by then: renamed, copied, packed. A followed log's life ends when another file stands at its
path, or when it is truncated; what was not read of it by then is looked for beside it.
"""

import os
import re
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from loguru import logger

from logllm_core.daily.detect.log_identity import (
    PIPE,
    Place,
    Trail,
    candidates,
    is_packed,
    opened,
    pass_to,
    recognise,
    rotated,
)
from logllm_core.daily.detect.standard_input import piped
from logllm_core.daily.ledger.cursors import Look
from logllm_core.errors import LogLLMError
from logllm_core.logs.records.line_blocks import BLOCK_BYTES, Block
from logllm_core.logs.records.line_cutter import LF, MAX_LINE_BYTES, LineCutter, with_end

POLL_SECONDS = 0.05
QUIET_SECONDS = 1.0  # that a writer has to turn to the new file after a rotation
GONE_SECONDS = 5.0  # after which nobody writes to a file any more that was deleted
_LINE_END = re.compile(rb"\r\n?|\n")

Chunks = Generator[bytes | None, None, None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Lines that have come, and the place behind the last of them."""

    block: Block
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class _OpenLog:
    """A log that is open."""

    stream: BinaryIO
    trail: Trail = field(default_factory=Trail)  # of what was read up to the place
    beyond: bytes = b""  # what was read behind it


class GrowingLog:
    """The lines of one log, from its begin or from a place in it.

    To iterate over it, once, gives a `Piece`, or None where nothing came for `wait_seconds` (and
    now and then on a long way to the place), so that the reader can look around or leave.

    A line is whole when its end has come, or when the log has ended: at the end of a file that is
    not followed, at the end of a pipe, and where a followed log's life is over. A packed file is
    whole; it is not followed.

    Where the file at the path does not go on from `place`, that log was rotated away, and is looked
    for beside it. Where it is not found, or a followed log is truncated and its rest is nowhere, a
    warning is logged and `is_cut_short` is true.

    Where a followed log was rotated away more than once since its reader last looked around,
    `missed` names the files between it and the one that stands at the path now, in their order.
    """

    def __init__(
        self,
        path: str,
        place: Place | None = None,
        *,
        follow: bool = False,
        wait_seconds: float = POLL_SECONDS,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self.path = path
        self.is_cut_short = False
        self.missed: tuple[str, ...] = ()  # logs that stood at the path since, and do no more
        self.location: str | None = None  # what is read: the path, or a file beside it
        self.look: Look | None = None  # at what is read, from before it was last asked for more
        self.is_followed = follow
        self._place = place
        self._wait_seconds = wait_seconds
        self._max_line_bytes = max_line_bytes
        self._trail = Trail()  # of the lines that were given
        self._num_lines = place.num_lines if place else 0

    def __iter__(self) -> Iterator[Piece | None]:
        cutter = LineCutter(self._max_line_bytes, passed=lambda raw: self._trail.add(raw))
        is_beginning = True
        for chunk in piped(self._wait_seconds) if self.path == PIPE else self._file():
            if chunk and is_beginning:
                chunk = self._without_rest_of_line(chunk)
                is_beginning = not chunk
            lines = cutter.push(chunk) if chunk else b""
            yield self._piece(lines, cutter.are_cut) if lines else None
        if rest := cutter.rest():
            yield self._piece(rest, cutter.are_cut)

    def _piece(self, lines: bytes, are_cut: list[int]) -> Piece:
        block = Block.of(with_end(lines), first_line_number=self._num_lines, are_cut=are_cut)
        self._num_lines += len(block)
        return Piece(block=block, place=self._trail.place(self._num_lines))

    def _without_rest_of_line(self, chunk: bytes) -> bytes:
        """The log ended within a line, which counted as one: its rest is passed over."""
        last = self._trail.last
        if last in (None, LF):
            return chunk
        end = _LINE_END.search(chunk)
        num_passed = end.end() if end else len(chunk)
        if last == ord("\r"):
            num_passed = 1 if chunk[0] == LF else 0
        self._trail.add(chunk[:num_passed])
        if chunk[:num_passed].strip(b"\r\n"):
            logger.warning(
                "{}: the line at which it ended went on; the next {:,} bytes are passed over",
                *(self.path, num_passed),
            )
        return chunk[num_passed:]

    def _file(self) -> Chunks:
        with ExitStack() as stack:
            log = yield from self._opened(stack)
            if log is None:
                return
            assert self.location is not None
            self._trail = log.trail
            yield log.beyond
            if self.is_followed and not is_packed(self.location):
                yield from self._followed(log.stream, log.trail.copy())
            else:
                yield from _chunks(log.stream)
            if self.is_followed and self.look:
                self.missed = tuple(self._missed(self.look))

    def _opened(self, stack: ExitStack) -> Generator[None, None, "_OpenLog | None"]:
        """The log, opened and read up to the place; None where it is not to be found."""
        while self._place is None and self.is_followed and not Path(self.path).exists():
            yield from self._wait()
        if self._place is None:
            self.location = self.path
            return _OpenLog(stream=stack.enter_context(opened(self.path)))
        return (yield from self._opened_at(self._place, stack, [self.path]))

    def _opened_at(
        self, place: Place, stack: ExitStack, first: list[str]
    ) -> Generator[None, None, "_OpenLog | None"]:
        """The first file that goes on from a place, of some and then of those beside the path."""
        for location in chain(first, candidates(self.path)):  # beside it only where it must be
            with ExitStack() as attempt:
                try:
                    look = Look.at(Path(location))
                    stream = attempt.enter_context(opened(location))
                    passed = yield from pass_to(place, stream, is_packed=is_packed(location))
                except (LogLLMError, OSError) as fault:  # gone, not readable or damaged
                    logger.debug("{!r} is not looked at: {}", location, fault)
                    continue
                if passed is None:
                    continue
                stack.push(attempt.pop_all())
            self.location, self.look = location, look
            if location != self.path:
                logger.info("{} goes on in {}", self.path, location)
            return _OpenLog(stream=stream, trail=passed[0], beyond=passed[1])
        self.is_cut_short, self.look = True, None
        logger.warning(
            "{}: no file beside it goes on from line {:,}, up to which it was read. If lines came "
            "after that, they are lost",
            *(self.path, place.num_lines),
        )
        return None

    def _followed(self, stream: BinaryIO, trail: Trail) -> Chunks:
        """What the file holds and what is appended, until its life is over."""
        assert self.location
        quiet_until = None
        while True:
            is_replaced = self._is_replaced(stream)  # what the old file held then is read below
            mine = os.fstat(stream.fileno())
            self.look = Look.of(Path(self.location), mine)  # the path may be another file's by now
            if not trail.is_intact(stream):
                yield from self._rest_beside(trail)
                return
            if chunk := stream.read(BLOCK_BYTES):
                quiet_until = None
                trail.add(chunk)
                yield chunk
                continue
            if is_replaced or not mine.st_nlink:
                seconds = QUIET_SECONDS if is_replaced else GONE_SECONDS
                quiet_until = quiet_until or time.monotonic() + seconds
                if time.monotonic() >= quiet_until:
                    return
            yield from self._wait()

    def _rest_beside(self, trail: Trail) -> Chunks:
        """What a file held that was truncated after it was copied (logrotate's copytruncate)."""
        with ExitStack() as stack:
            log = yield from self._opened_at(trail.place(self._num_lines), stack, [])
            if log:
                yield from _chunks(log.stream)

    def _is_replaced(self, stream: BinaryIO) -> bool:
        """Whether another file stands at the path; for a moment there may be none."""
        try:
            now = Path(self.path).stat()
        except OSError:
            return False
        mine = os.fstat(stream.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)

    def _missed(self, mine: Look) -> Iterator[str]:
        """Files that a rotation took away before anyone looked, each after the one before."""
        place = self._trail.place(self._num_lines)
        for location in rotated(self.path):
            try:
                other = Path(location).stat()
                is_later = other.st_mtime_ns >= mine.changed and other.st_ino != mine.inode
                if is_later and recognise(location, {self.path: place}) is None:
                    yield location
            except (OSError, LogLLMError) as fault:  # gone again, not readable or damaged
                logger.warning("{!r} may have been rotated away unread: {}", location, fault)

    def _wait(self) -> Generator[None, None, None]:
        time.sleep(self._wait_seconds)
        yield None


def _chunks(stream: BinaryIO) -> Chunks:
    yield from iter(lambda: stream.read(BLOCK_BYTES), b"")
