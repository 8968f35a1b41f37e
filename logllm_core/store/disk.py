"""What the operating system grants and refuses below the data folder: locks, space, permissions."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from loguru import logger

from logllm_core.errors import LogLLMError

# A full disk, a spent quota, a file beyond the limit. DuckDB, Arrow and safetensors raise classes
# of their own for it, but all of them quote the system's words.
FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


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
    """Put a small file in its place at once: whoever reads it sees the old one or the new one.

    Two writers of one file must keep each other out by a lock.
    """
    beside = path.with_name(f".{path.name}.writing")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    flush(path.parent)  # the name, too, outlives a power cut


def flush_to_disk(folder: Path) -> None:
    """So that a power cut after a rename cannot leave empty files behind a whole manifest."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


def flush(path: Path) -> None:
    """So that what a file or a folder holds now outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_refusal(fault: Exception, folder: Path) -> bool:
    """Whether the system refused something at this folder, not at a file of the user's."""
    if not isinstance(fault, OSError) or fault.errno not in REFUSED:
        return False
    if fault.filename is None:
        return True
    path = Path(fault.filename)
    return path.is_relative_to(folder) or folder.is_relative_to(path)
