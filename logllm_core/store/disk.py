"""Files and folders below the data folder: written whole or not at all, kept apart, told apart.

Nothing else in the house gives a finished file or folder its name, or takes it away again.
"""

import errno
import glob
import itertools
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from loguru import logger

from logllm_core.errors import LogLLMError

# A full disk, a spent quota, a file beyond the limit. DuckDB, Arrow and safetensors raise classes
# of their own for it, but all of them quote the system's words.
FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
DAY_SECONDS = 86_400.0
WRITING, BUILDING = ".writing", ".building"  # end the name of what is not in its place yet


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep other processes out; say so where one has to be waited for."""
    held = FileLock(path)
    try:
        held.acquire(timeout=0)
    except Timeout:
        logger.info("Another process builds {}; waiting for it", path.stem.lstrip("."))
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write below `folder` into one clear error.

    Raises:
        LogLLMError: no space, no permission, or a file where a folder should be.
    """
    try:
        yield
    except LogLLMError:
        raise
    except Exception as fault:
        said = str(fault).partition("\n")[0]
        if not any(words in said for words in FULL) and not _is_refusal(fault, folder):
            raise
        raise LogLLMError(
            f"Cannot write to {folder}: {said}. Free some space, mend the permissions, or choose "
            "another folder with --data-dir."
        ) from fault


def replace_file(path: Path, content: bytes) -> None:
    """Put a small file in its place: whoever reads it sees the old one or the new one, whole."""
    with whole_file(path) as beside:
        beside.write_bytes(content)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside; the file that is written under it takes its place once it is finished.

    Of several writers at once the last one's stays: where that must not be, a lock keeps them out.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{WRITING}")
    try:
        yield beside
        put_in_place(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """What `whole_file` left beside where it was killed; whoever writes since today is spared."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*{WRITING}"):
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > DAY_SECONDS:
                leftover.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside that takes its place once it is filled.

    What stands there is taken for damaged, and goes at once: it may need the space. Two writers of
    one folder must keep each other out by a lock.
    """
    beside = path.with_name(f".{path.name}{BUILDING}")
    for leftover in (beside, path):
        shutil.rmtree(leftover, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        put_in_place(beside, path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def put_in_place(finished: Path, path: Path) -> None:
    """Give a finished file or folder its name, by one rename in the same file system.

    All of it is on the disk before, and its name after: a power cut cannot leave empty files behind
    a whole manifest.
    """
    for part in (*finished.rglob("*"), finished):
        flush(part)
    finished.replace(path)
    flush(path.parent)


def set_aside(path: Path, reason: str) -> Path:
    """Rename what stands there, so that nothing takes it for whole; returns where it is then."""
    names = (path.with_name(f".{path.name}.{reason}-{n}") for n in itertools.count(1))
    return path.replace(next(name for name in names if not name.exists()))


def flush(path: Path) -> None:
    """So that what a file or a folder holds now outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Stamp(NamedTuple):
    """What changes when a file is written to or replaced, but not when it is renamed."""

    changed_ns: int
    inode: int
    size_bytes: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        return cls(status.st_mtime_ns, status.st_ino, status.st_size)

    @classmethod
    def at(cls, path: Path) -> "Stamp | None":
        """None where nothing can be seen there."""
        try:
            return cls.of(path.stat())
        except OSError:
            return None


def _is_refusal(fault: Exception, folder: Path) -> bool:
    """Whether the system refused something at this folder, not at a file of the user's."""
    if not isinstance(fault, OSError) or fault.errno not in REFUSED:
        return False
    if fault.filename is None:
        return True
    path = Path(fault.filename)
    return path.is_relative_to(folder) or folder.is_relative_to(path)
