"""Files where they lie, on this machine or at an address that fsspec opens, such as s3://...

They are found (paths, globs), told apart (size and checksum) and opened here; nothing is copied.
"""

import glob
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from logllm_core.errors import LogLLMError

BUFFER_BYTES = 1 << 20
# Kinds of addresses that fsspec only reads bytes from. Of its others, some unpack, write caches, or
# fill in templates that lie at the address.
STORES = (
    *("abfs", "abfss", "az", "file", "ftp", "gcs", "gs", "hdfs", "hf", "http", "https"),
    *("memory", "oci", "oss", "s3", "s3a", "sftp", "ssh", "webhdfs"),
)
# File systems whose files are made up by the kernel as they are read: without a size, without an
# end, or with another process's secrets in them.
MADE_UP = {"cgroup", "cgroup2", "configfs", "debugfs", "proc", "securityfs", "sysfs", "tracefs"}
MOUNTS = Path("/proc/self/mountinfo")
ETAGS = ("ETag", "etag", "md5Hash", "content_md5")  # what stores call their own checksum


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What tells, without reading it, whether a file is still the same."""

    size_bytes: int
    version: tuple[int, int] | str  # time of change in nanoseconds and inode, or the store's ETag


def is_address(location: str) -> bool:
    return "://" in location


def find_files(patterns: Sequence[str]) -> list[str]:
    """The files that paths, globs and addresses name, each glob's in order of their names.

    A name that exists is taken as it stands, even where it looks like a glob. Folders that a glob
    matches are passed over.

    Raises:
        LogLLMError: one of them names no file, or two name the same.
    """
    found = [path for one in patterns for path in _files_at(one)]
    seen: dict[str, str] = {}
    for path in found:
        check_name(path)
        real = path if is_address(path) else os.path.realpath(path)
        if real in seen:
            also = "twice" if seen[real] == path else f"as {seen[real]}, too"
            raise LogLLMError(f"{path} is named {also}. Name it once in the data set's TOML file.")
        seen[real] = path
    return found


def check_name(location: str) -> None:
    """Whether a location can be written to manifests.

    Raises:
        LogLLMError: it is not UTF-8.
    """
    if not location.isascii() and location != location.encode(errors="replace").decode():
        raise LogLLMError(f"The file name {location!r} is not UTF-8. Rename the file.")


def _files_at(pattern: str) -> list[str]:
    if is_address(pattern):
        try:
            parts = urlsplit(pattern)
        except ValueError as fault:
            raise LogLLMError(f"{pattern} is no address: {fault}. Mend it.") from None
        if parts.password:  # it would be written to manifests and reports
            raise LogLLMError(
                f"{parts.scheme}://{parts.username}@{parts.hostname} carries a password. Give it "
                "outside the data set's file, as the address's fsspec package documents."
            )
        with _reached(pattern):
            return _remote_files_at(pattern)
    path = Path(pattern).absolute()
    pattern = str(path)
    check_is_file(pattern)
    if path.is_file():
        return [pattern]
    if path.is_dir():
        raise LogLLMError(f"{pattern} is a folder. Write {pattern.rstrip('/')}/* for its files.")
    if not glob.has_magic(pattern):
        raise LogLLMError(f'There is no file {pattern}. Mend "path" in the data set\'s TOML file.')
    return _some(
        pattern,
        sorted(p for p in glob.glob(pattern, recursive=True) if Path(p).is_file()),  # noqa: PTH207
    )


def _remote_files_at(pattern: str) -> list[str]:
    fs, path = _file_system(pattern)
    if not has_magic(path) or fs.isfile(path):
        return [pattern]
    found = fs.glob(path, detail=True).values()
    names = [str(fs.unstrip_protocol(one["name"])) for one in found if one["type"] == "file"]
    return _some(pattern, sorted(names))


def _some(pattern: str, found: list[str]) -> list[str]:
    if not found:
        raise LogLLMError(f'No file matches {pattern}. Mend "path" in the data set\'s TOML file.')
    return found


def _file_system(address: str) -> tuple[Any, str]:
    protocol = address.partition("://")[0]
    if protocol not in STORES or "::" in address:
        raise LogLLMError(
            f"{address} cannot be reached: logs are read from {', '.join(STORES)}. Others, and "
            "addresses within addresses (::), might run what they find there."
        )
    fs, path = url_to_fs(address)
    fs.invalidate_cache()  # of listings: another program may have written since
    return fs, str(path)


def check_is_file(path: str) -> None:
    """Whether what lies there, if anything, is a folder or a file with a content of its own.

    Raises:
        LogLLMError: it is something else.
    """
    if kind := special_kind(path):
        raise LogLLMError(
            f"{path} is {kind}, not a file. Write what comes from it into a file, and name that."
        )


def special_kind(path: str) -> str | None:
    """What a path leads to, where it is there and neither a folder nor a file on a disk."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        return "a pipe, a socket or a device"
    return "made up by the kernel" if found.st_dev in _made_up_devices() else None


@cache
def _made_up_devices() -> frozenset[int]:
    """The device numbers of the kernel's own file systems, wherever they are mounted."""
    if not MOUNTS.exists():  # no Linux
        return frozenset()
    found = set()
    for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        mount, _, kind = line.partition(" - ")
        if kind.split()[0] in MADE_UP:
            found.add(os.makedev(*map(int, mount.split()[2].split(":"))))
    return frozenset(found)


def look_at(location: str) -> Look:
    """Size and version, without reading the content.

    Raises:
        LogLLMError: there is no such file, or it cannot be reached.
    """
    if not is_address(location):
        with _readable(location):
            found = Path(location).stat()
        return Look(size_bytes=found.st_size, version=(found.st_mtime_ns, found.st_ino))
    with _reached(location):
        fs, path = _file_system(location)
        info = fs.info(path)
        etag = next((info[name] for name in ETAGS if info.get(name)), None)
        if info.get("size") is None:
            raise LogLLMError(f"{location} does not tell its size. Copy the file to this machine.")
        version = str(etag or fs.checksum(path)).strip('"')
        return Look(size_bytes=int(info["size"]), version=version)


def check_regular(path: str, mode: int) -> None:
    """Raise a LogLLMError where something else than a file lies there: reading it may never end."""
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise LogLLMError(
            f"{path} is {kind}; only regular files are read. Put the log there, or pipe it in as -."
        )


def _opened_at_once(path: str, flags: int) -> int:
    """Without waiting: a pipe to which nobody writes would hold its reader for good."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        check_regular(path, os.fstat(descriptor).st_mode)
    except LogLLMError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def open_bytes(location: str) -> Iterator[BinaryIO]:
    """The file's bytes as they lie there; those of an address are fetched as they are read."""
    if is_address(location):
        with _reached(location):
            fs, path = _file_system(location)
            if isinstance(fs, LocalFileSystem):
                check_is_file(path)
            stream: BinaryIO = io.BufferedReader(
                _Fetched(fs.open(path, "rb"), location), BUFFER_BYTES
            )
    else:
        check_is_file(location)
        with _readable(location):
            stream = open(location, "rb", opener=_opened_at_once)  # noqa: SIM115
    with stream:
        yield stream


class _Fetched(io.RawIOBase):
    """A file at an address, whose faults say so."""

    def __init__(self, stream: Any, address: str) -> None:
        self._stream = stream
        self._address = address

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        return int(self._stream.seek(place, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        with _reached(self._address):
            return int(self._stream.readinto(buffer))

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise LogLLMError(f"There is no file {path}. Has it been moved?") from None
    except OSError as fault:
        raise LogLLMError(f"Cannot read {path}: {fault.strerror}. Mend its permissions.") from None


@contextmanager
def _reached(address: str) -> Iterator[None]:
    """One error for whatever a store's client raises: each has exception classes of its own."""
    try:
        yield
    except LogLLMError:
        raise
    except FileNotFoundError:
        raise LogLLMError(f"There is no file {address}. Mend the address.") from None
    except ImportError as fault:
        raise LogLLMError(f"{address} needs a package that is missing: {fault}.") from fault
    except Exception as fault:
        raise LogLLMError(
            f"{address} cannot be reached: {fault or type(fault).__name__}. Check the address, the "
            "network and the credentials."
        ) from fault


@contextmanager
def unchanged(location: str) -> Iterator[Look]:
    """The file's look, which must be the same at the end.

    Raises:
        LogLLMError: it is not. That is said in place of a fault that the change may have caused.
    """
    before = look_at(location)
    try:
        yield before
    except Exception:
        _check_unchanged(location, before)
        raise
    _check_unchanged(location, before)


def _check_unchanged(location: str, before: Look) -> None:
    after = look_at(location)
    if after != before:
        raise LogLLMError(
            f"{location} changed while it was read ({before.size_bytes:,} bytes before, "
            f"{after.size_bytes:,} after): run again, once nobody writes to it."
        )
