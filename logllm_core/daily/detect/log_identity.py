"""How far a log was read, and which file is that log, whatever it is called by now."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from logllm_core.logs.records.line_blocks import BLOCK_BYTES
from logllm_core.logs.sources.archives import check_is_unpacked, endings, open_stream
from logllm_core.logs.sources.files import open_bytes
from logllm_core.store.store import Json

PIPE = "-"  # standard input
HEAD_BYTES = 1_024
TAIL_BYTES = 4_096
MAX_CANDIDATES = 1_000  # files beside a log that may be its rest
ROTATED = re.compile(r"[-._:0-9TZ]*[0-9][-._:0-9TZ]*", re.IGNORECASE)  # .1, -20240501T1200
SEPARATORS = ("-", ".", "_")  # before it; app2.log is no rotated app.log

Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What tells a stretch of bytes from others."""

    length: int
    sha256: str

    @classmethod
    def of(cls, stretch: bytes) -> Self:
        return cls(length=len(stretch), sha256=hashlib.sha256(stretch).hexdigest())

    def fits(self, stretch: bytes) -> bool:
        return len(stretch) == self.length and Mark.of(stretch) == self


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in a log, behind the last line that was read."""

    offset: int  # unpacked bytes
    num_lines: int  # before it
    head: Mark  # the log's first bytes
    tail: Mark  # the bytes before the place

    def as_json(self) -> dict[str, Json]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Json]) -> Self:
        marks = {name: Mark(**values[name]) for name in ("head", "tail")}
        return cls(**{**values, **marks})


class Trail:
    """The bytes that were read of a log: how many, the first ones and the last ones."""

    def __init__(self, *, offset: int = 0, head: bytes = b"", tail: bytes = b"") -> None:
        self._offset = offset
        self._head = head
        self._tail = tail

    @property
    def last(self) -> int | None:
        """The last byte."""
        return self._tail[-1] if self._tail else None

    def add(self, chunk: bytes) -> None:
        if len(self._head) < HEAD_BYTES:  # may reach beyond the place that reading began from
            self._head += chunk[len(self._head) - self._offset :][: HEAD_BYTES - len(self._head)]
        self._offset += len(chunk)
        self._tail = (self._tail + chunk[-TAIL_BYTES:])[-TAIL_BYTES:]

    def copy(self) -> "Trail":
        return Trail(offset=self._offset, head=self._head, tail=self._tail)

    def place(self, num_lines: int) -> Place:
        return Place(
            offset=self._offset,
            num_lines=num_lines,
            head=Mark.of(self._head),
            tail=Mark.of(self._tail),
        )

    def is_intact(self, stream: BinaryIO) -> bool:
        """Whether a plain file still holds what was read of it last, and nothing was cut off."""
        size = os.fstat(stream.fileno()).st_size
        if size == self._offset:
            return True
        before = os.pread(stream.fileno(), len(self._tail), self._offset - len(self._tail))
        return size > self._offset and before == self._tail


def head_of(path: str) -> bytes:
    """A log's first bytes; none where the file is empty.

    Raises:
        LogLLMError: it cannot be read, or is damaged.
    """
    with opened(path) as stream:
        return _read(stream, HEAD_BYTES)


def beginning(head: bytes) -> Place:
    """The place before the first line of a log with these first bytes."""
    return Place(offset=0, num_lines=0, head=Mark.of(head), tail=Mark.of(b""))


def recognise(path: str, places: Mapping[Key, Place]) -> Key | None:
    """Which of the known logs the file goes on from; the furthest one where several fit.

    A packed file is unpacked up to the place, but only where its first bytes fit. None for a log
    that is new, and for a pipe: what came from one cannot be looked at again.

    Raises:
        LogLLMError: the file cannot be read, or is damaged.
    """
    if path == PIPE:
        return None
    with opened(path) as stream:
        head = _read(stream, HEAD_BYTES)
    fitting = [
        key
        for key, place in places.items()
        if place.head.length and place.head.fits(head[: place.head.length])
    ]
    for key in sorted(fitting, key=lambda key: places[key].offset, reverse=True):
        if _goes_on_from(path, places[key]):
            return key
    return None


def candidates(path: str) -> Iterator[str]:
    """The files beside a path, those named like it first, of these the youngest first."""
    log = Path(path)
    beside = []
    for entry in _entries(log.parent):
        with suppress(OSError):  # rotation may rename or pack it just now
            if entry.name != log.name and entry.is_file(follow_symlinks=False):
                is_other = not entry.name.startswith(log.stem)
                beside.append((is_other, -entry.stat().st_mtime_ns, entry.path))
    yield from (location for _, _, location in sorted(beside)[:MAX_CANDIDATES])


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # gone, or not to be listed
        return []


def rotated(path: str) -> list[str]:
    """The files beside a path that are named as rotation names them, the oldest first."""
    log = Path(path)
    older = []
    for location in candidates(path):
        name = endings(location)[0]
        added = name.removeprefix(log.stem.lower()).replace(log.suffix.lower(), "", 1)
        if name.startswith(log.stem.lower()) and ROTATED.fullmatch(added):
            older.append(location)
    return older[::-1]


def rotations(paths: Sequence[str]) -> set[str]:
    """Those that are named as rotation names what stood before at another one of them."""
    suffixes = defaultdict(set)
    for log in map(Path, paths):
        suffixes[log.parent, log.stem.lower()].add(log.suffix.lower())
    older = set()
    for path in paths:
        name, folder = endings(Path(path).name)[0], Path(path).parent
        for end in range(1, len(name)):
            of_others = suffixes.get((folder, name[:end]), ())
            added = (name[end:].replace(suffix, "", 1) for suffix in of_others)
            if any(text[:1] in SEPARATORS and ROTATED.fullmatch(text) for text in added):
                older.add(path)
    return older


def is_packed(location: str) -> bool:
    name, codec = endings(location)
    return codec is not None or name.endswith((".zip", ".tar"))


@contextmanager
def opened(location: str) -> Iterator[BinaryIO]:
    """The unpacked bytes of a file; those of a plain file as they are at the moment of reading."""
    if is_packed(location):
        with open_stream(location, None) as stream:
            yield stream
    else:
        with open_bytes(location) as stream:
            check_is_unpacked(stream, location)
            yield stream


def pass_to(
    place: Place, stream: BinaryIO, *, is_packed: bool
) -> Generator[None, None, tuple[Trail, bytes] | None]:
    """Read a log up to a place, and give None now and then on the way.

    Returns the trail up to the place and what was read beyond; None where it is another log.
    """
    head = _read(stream, place.head.length)
    if not place.head.fits(head):
        return None
    tail, beyond = head[: place.offset], head[place.offset :]
    offset = len(tail)
    if not is_packed:
        offset, tail, beyond = place.offset - place.tail.length, b"", b""
        stream.seek(offset)
    while offset < place.offset:
        chunk = stream.read(min(BLOCK_BYTES, place.offset - offset))
        if not chunk:
            return None
        offset += len(chunk)
        tail = (tail + chunk)[-TAIL_BYTES:]
        yield None
    tail = tail[len(tail) - place.tail.length :]
    return (Trail(offset=offset, head=head, tail=tail), beyond) if place.tail.fits(tail) else None


def _goes_on_from(path: str, place: Place) -> bool:
    with opened(path) as stream:
        steps = pass_to(place, stream, is_packed=is_packed(path))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value is not None


def _read(stream: BinaryIO, num_bytes: int) -> bytes:
    """That many bytes, or all that there are."""
    chunks = []
    while num_bytes and (chunk := stream.read(num_bytes)):
        chunks.append(chunk)
        num_bytes -= len(chunk)
    return b"".join(chunks)
