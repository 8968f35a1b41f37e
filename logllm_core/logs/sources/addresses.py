"""Files at addresses that fsspec opens, such as s3://...: found, told apart and opened there."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from logllm_core.errors import LogLLMError
from logllm_core.logs.sources.special_files import check_is_file

BUFFER_BYTES = 1 << 20
# Kinds of addresses that fsspec only reads bytes from. Of its others, some unpack, write caches, or
# fill in templates that lie at the address.
STORES = (
    *("abfs", "abfss", "az", "file", "ftp", "gcs", "gs", "hdfs", "hf", "http", "https"),
    *("memory", "oci", "oss", "s3", "s3a", "sftp", "ssh", "webhdfs"),
)
ETAGS = ("ETag", "etag", "md5Hash", "content_md5")  # what stores call their own checksum


class AddressStamp(NamedTuple):
    """What tells, without reading it, whether a file at an address is still the same."""

    size_bytes: int
    etag: str

    @property
    def checksum(self) -> str:
        """As a raw log's files have it."""
        return f"etag:{self.etag}"


def is_address(location: str) -> bool:
    return "://" in location


def files_at_address(pattern: str) -> list[str]:
    """The files that an address names; those of a glob in order of their names.

    Raises:
        LogLLMError: it is none that can be reached, or carries a password.
    """
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
        fs, path = _file_system(pattern)
        if not has_magic(path) or fs.isfile(path):
            return [pattern]
        entries = fs.glob(path, detail=True).values()
        return sorted(
            str(fs.unstrip_protocol(entry["name"])) for entry in entries if entry["type"] == "file"
        )


def stamp_at_address(location: str) -> AddressStamp:
    """Raises a LogLLMError where there is no such file, or it cannot be reached."""
    with _reached(location):
        fs, path = _file_system(location)
        info = fs.info(path)
        etag = next((info[name] for name in ETAGS if info.get(name)), None)
        if info.get("size") is None:
            raise LogLLMError(f"{location} does not tell its size. Copy the file to this machine.")
        return AddressStamp(int(info["size"]), str(etag or fs.checksum(path)).strip('"'))


def stream_from_address(location: str) -> BinaryIO:
    """The bytes at an address, fetched as they are read. Raises as `stamp_at_address` does."""
    with _reached(location):
        fs, path = _file_system(location)
        if isinstance(fs, LocalFileSystem):
            check_is_file(path)
        return io.BufferedReader(_Fetched(fs.open(path, "rb"), location), BUFFER_BYTES)


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


class _Fetched(io.RawIOBase):
    """A file at an address, whose faults say so."""

    def __init__(self, stream: Any, address: str) -> None:
        self._stream = stream
        self._address = address

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        with _reached(self._address):
            return int(self._stream.readinto(buffer))

    def close(self) -> None:
        self._stream.close()
        super().close()


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
