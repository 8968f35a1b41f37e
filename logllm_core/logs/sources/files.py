"""Files where they lie, on this machine or at an address that fsspec opens, such as s3://...

They are found (paths, globs), told apart (size and checksum) and opened here; nothing is copied.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from logllm_core.errors import LogLLMError
from logllm_core.logs.sources.addresses import (
    AddressStamp,
    files_at_address,
    is_address,
    stamp_at_address,
    stream_from_address,
)
from logllm_core.logs.sources.special_files import check_is_file, opened_at_once
from logllm_core.store.disk import Stamp


def find_files(patterns: Sequence[str]) -> list[str]:
    """The files that paths, globs and addresses name, each glob's in order of their names.

    A name that exists is taken as it stands, even where it looks like a glob. Folders that a glob
    matches are passed over.

    Raises:
        LogLLMError: one of them names no file, or two name the same.
    """
    paths = [path for pattern in patterns for path in _files_at(pattern)]
    seen: dict[str, str] = {}
    for path in paths:
        check_name(path)
        real = path if is_address(path) else os.path.realpath(path)
        if real in seen:
            also = "twice" if seen[real] == path else f"as {seen[real]}, too"
            raise LogLLMError(f"{path} is named {also}. Name it once in the data set's TOML file.")
        seen[real] = path
    return paths


def check_name(location: str) -> None:
    """Whether a location can be written to manifests.

    Raises:
        LogLLMError: it is not UTF-8.
    """
    if not location.isascii() and location != location.encode(errors="replace").decode():
        raise LogLLMError(f"The file name {location!r} is not UTF-8. Rename the file.")


def _files_at(pattern: str) -> list[str]:
    if is_address(pattern):
        paths = files_at_address(pattern)
    else:
        path = Path(pattern).absolute()
        pattern = str(path)
        check_is_file(pattern)
        if path.is_file():
            return [pattern]
        if path.is_dir():
            raise LogLLMError(f"{path} is a folder. Write {pattern.rstrip('/')}/* for its files.")
        if not glob.has_magic(pattern):
            raise LogLLMError(f'There is no file {path}. Mend "path" in the data set\'s TOML file.')
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207
        paths = sorted(match for match in matches if Path(match).is_file())
    if not paths:
        raise LogLLMError(f'No file matches {pattern}. Mend "path" in the data set\'s TOML file.')
    return paths


def stamp_of(location: str) -> Stamp | AddressStamp:
    """What changes with the file, without reading it.

    Raises:
        LogLLMError: there is no such file, or it cannot be reached.
    """
    if is_address(location):
        return stamp_at_address(location)
    with _readable(location):
        return Stamp.of(Path(location).stat())


@contextmanager
def open_bytes(location: str) -> Iterator[BinaryIO]:
    """The file's bytes as they lie there; those of an address are fetched as they are read."""
    if is_address(location):
        stream = stream_from_address(location)
    else:
        check_is_file(location)
        with _readable(location):
            stream = open(location, "rb", opener=opened_at_once)  # noqa: SIM115
    with stream:
        yield stream


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise LogLLMError(f"There is no file {path}. Has it been moved?") from None
    except OSError as fault:
        raise LogLLMError(f"Cannot read {path}: {fault.strerror}. Mend its permissions.") from None


@contextmanager
def unchanged(location: str) -> Iterator[Stamp | AddressStamp]:
    """The file's stamp, which must be the same at the end.

    Raises:
        LogLLMError: it is not. That is said in place of a fault that the change may have caused.
    """
    before = stamp_of(location)
    try:
        yield before
    except Exception:
        _check_unchanged(location, before)
        raise
    _check_unchanged(location, before)


def _check_unchanged(location: str, before: Stamp | AddressStamp) -> None:
    after = stamp_of(location)
    if after != before:
        raise LogLLMError(
            f"{location} changed while it was read ({before.size_bytes:,} bytes before, "
            f"{after.size_bytes:,} after): run again, once nobody writes to it."
        )
