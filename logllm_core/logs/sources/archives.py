"""Reading out of archives, as streams: nothing is unpacked to disk, no path in one is followed.

A log may be plain, compressed (.gz, .zst, .bz2, .xz), or a member of a .zip or a .tar of any of
these, here or at an fsspec address. What is not asked for is not read: Thunderbird.tar.gz has 2 GB
and would be 30.
"""

import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO, cast
from urllib.parse import urlsplit

import pyarrow as pa

from logllm_core.errors import LogLLMError
from logllm_core.logs.sources.files import open_bytes

BUFFER_BYTES = 1 << 20
CODECS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}
TAR_SHORTHANDS = {".tgz": ".tar.gz", ".tzst": ".tar.zst", ".tbz2": ".tar.bz2", ".txz": ".tar.xz"}
# How packed files begin, whatever they are called; a .tar is told by its first header.
BEGINNINGS = {
    ".gz": rb"\x1f\x8b\x08",
    ".zst": rb"\x28\xb5\x2f\xfd",
    ".bz2": rb"BZh[1-9]1AY&SY",
    ".xz": rb"\xfd7zXZ\x00",
    ".zip": rb"PK\x03\x04",
}
NUM_NAMES_SHOWN = 5
MAX_HEADER_BYTES = 64 << 20  # of an entry of a .tar; its names are far shorter
# What the readers below raise for content they cannot make sense of. Arrow raises a plain OSError,
# without the number that the operating system's own have.
DAMAGES = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
)


@contextmanager
def open_stream(location: str, member: str | None) -> Iterator[BinaryIO]:
    """The unpacked bytes of a file, or of one member of an archive.

    Args:
        location: a path or an fsspec address; its endings tell how it is packed.
        member: the path of the wanted file inside a .zip or .tar; None for any other file.

    Raises:
        LogLLMError: there is no such file or member, the member is a link or a folder, what it
            holds is packed once more or under a wrong name, or the archive is damaged, which may
            show only while the stream is read.
    """
    with ExitStack() as stack:
        packed = stack.enter_context(open_bytes(location))
        with _explained(location):
            content = _unpacked(location, packed, member, stack)
        guarded = _Guarded(content, location)
        stream = stack.enter_context(io.BufferedReader(guarded, BUFFER_BYTES))
        check_is_unpacked(stream, f"{member!r} in {location}" if member else location)
        yield cast(BinaryIO, stream)


def check_is_unpacked(stream: Any, called: str) -> None:
    """Whether a stream, which is at its beginning, holds text as far as how it begins can tell.

    Raises:
        LogLLMError: it holds something packed; read as text, that would be a log of noise.
    """
    head: bytes = stream.peek(tarfile.BLOCKSIZE)
    packing = next((name for name, begin in BEGINNINGS.items() if re.match(begin, head)), None)
    if packing is None and _is_tar(head):
        packing = ".tar"
    if packing:
        raise LogLLMError(
            f"What {called} holds is packed itself, as {packing} files are. Unpack it, or give a "
            f"file that is only packed once the ending {packing}."
        )


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:  # its checksum among others
        return False
    return True


def _unpacked(location: str, packed: BinaryIO, member: str | None, stack: ExitStack) -> Any:
    name, codec = endings(location)
    if not name.endswith((".zip", ".tar")):
        if member is not None:
            raise LogLLMError(
                f"{location} is no archive of several files, so it holds no {member!r}. Leave the "
                "member out of the data set's TOML file."
            )
        return _decompressed(packed, codec, stack)
    if member is None:
        raise LogLLMError(
            f"{location} is an archive, and no member is named. Unpack the log, or pack it alone "
            "(.gz, .zst, .bz2, .xz)."
        )
    if name.endswith(".zip"):
        return stack.enter_context(_zip_member(location, packed, member))
    return _tar_member(location, _decompressed(packed, codec, stack), member)


def endings(location: str) -> tuple[str, str | None]:
    """The file's name without the ending of a compression, and that compression."""
    name = urlsplit(location).path if location.startswith(("http://", "https://")) else location
    name = PurePosixPath(name).name.lower()
    for short, long in TAR_SHORTHANDS.items():
        name = name.removesuffix(short) + long if name.endswith(short) else name
    for ending, codec in CODECS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), codec
    return name, None


def _decompressed(packed: BinaryIO, codec: str | None, stack: ExitStack) -> Any:
    """A stream of the content, all concatenated members or frames of it."""
    if codec is None:
        return packed
    if codec == "xz":
        return stack.enter_context(lzma.LZMAFile(packed))
    # Arrow's readers are faster than Python's, and check the checksums as those do.
    return stack.enter_context(pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), codec))


def _zip_member(location: str, packed: BinaryIO, member: str) -> IO[bytes]:
    archive = zipfile.ZipFile(packed)  # the caller closes `packed`, all that it holds
    if member not in archive.NameToInfo:
        raise _no_member(location, member, archive.namelist())
    entry = archive.getinfo(member)
    if stat.S_ISLNK(entry.external_attr >> 16):  # where Unix keeps the kind of a file
        raise _not_a_file(location, member, "a link")
    if entry.is_dir():
        raise _not_a_file(location, member, "a folder")
    return archive.open(entry)


def _tar_member(location: str, content: Any, member: str) -> Any:
    # "r:" on a stream that only goes forward: on .tar.gz measured 1.4 times as fast as "r|gz",
    # which also stops at the end of the first gzip member.
    archive = tarfile.open(fileobj=cast(Any, _ForwardStream(content)), mode="r:")  # noqa: SIM115
    names: list[str] = []
    while (entry := archive.next()) is not None:
        cast(Any, archive).members.clear()  # else every entry is remembered, of perhaps millions
        name = entry.name.removeprefix("./")
        if name == member and entry.isfile():
            return archive.extractfile(entry)
        if name == member:
            is_link = entry.issym() or entry.islnk()
            kind = "a folder" if entry.isdir() else "a link" if is_link else "a device"
            raise _not_a_file(location, member, kind)
        if len(names) <= NUM_NAMES_SHOWN:
            names.append(name)
    raise _no_member(location, member, names)


def _no_member(location: str, member: str, names: Sequence[str]) -> LogLLMError:
    shown = [f"{name!r:.100}" for name in names[:NUM_NAMES_SHOWN]]
    more = ["..."] if len(names) > NUM_NAMES_SHOWN else []
    return LogLLMError(
        f"{location} holds no {member!r}; it holds {', '.join(shown + more) or 'nothing'}. Is it "
        "the right archive?"
    )


def _not_a_file(location: str, member: str, kind: str) -> LogLLMError:
    return LogLLMError(
        f"{member!r} in {location} is {kind}, not a file. Links are not followed; name the file "
        "itself."
    )


@contextmanager
def _explained(location: str) -> Iterator[None]:
    try:
        yield
    except LogLLMError:
        raise
    except OSError as fault:
        if fault.errno is not None:  # the operating system's
            raise LogLLMError(f"{location} cannot be read: {fault.strerror}.") from fault
        raise _damaged(location, fault) from fault
    except RuntimeError as fault:  # a password, or a method of compression that Python lacks
        raise LogLLMError(f"{location} cannot be read: {fault}. Pack it in another way.") from fault
    except DAMAGES as fault:
        raise _damaged(location, fault) from fault


def _damaged(location: str, fault: Exception) -> LogLLMError:
    said = str(fault) or type(fault).__name__
    return LogLLMError(f"{location} is damaged or cut off: {said}. Fetch or copy it again.")


class _ForwardStream(io.RawIOBase):
    """A stream that can pass over what nobody wants, as tarfile asks for."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self._offset = 0

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        if offset < self._offset:  # no sound archive leads back
            raise tarfile.ReadError("an entry points back")
        while self._offset < offset and self.read(min(offset - self._offset, BUFFER_BYTES)):
            pass
        return self._offset

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:  # content is read by the buffer
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        chunk: bytes = self._content.read(size)
        self._offset += len(chunk)
        return chunk


class _Guarded(io.RawIOBase):
    """A stream whose faults say which file is at fault; those of its reader pass it by."""

    def __init__(self, content: Any, location: str) -> None:
        self._content = content
        self._location = location

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _explained(self._location):
            return int(self._content.readinto(memoryview(buffer)[:BUFFER_BYTES]))
