"""What lies at a path but is no file on a disk: reading it may never end, or tell secrets."""

import os
import stat
from functools import cache
from pathlib import Path

from logllm_core.errors import LogLLMError

# File systems whose files are made up by the kernel as they are read: without a size, without an
# end, or with another process's secrets in them.
MADE_UP = {"cgroup", "cgroup2", "configfs", "debugfs", "proc", "securityfs", "sysfs", "tracefs"}
MOUNTS = Path("/proc/self/mountinfo")


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
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return "a pipe, a socket or a device"
    return "made up by the kernel" if status.st_dev in _made_up_devices() else None


@cache
def _made_up_devices() -> frozenset[int]:
    """The device numbers of the kernel's own file systems, wherever they are mounted."""
    if not MOUNTS.exists():  # no Linux
        return frozenset()
    devices = set()
    for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        mount, _, kind = line.partition(" - ")
        if kind.split()[0] in MADE_UP:
            devices.add(os.makedev(*map(int, mount.split()[2].split(":"))))
    return frozenset(devices)


def check_regular(path: str, mode: int) -> None:
    """Raise a LogLLMError where something else than a file lies there: reading it may never end."""
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise LogLLMError(
            f"{path} is {kind}; only regular files are read. Put the log there, or pipe it in as -."
        )


def opened_at_once(path: str, flags: int) -> int:
    """Without waiting: a pipe to which nobody writes would hold its reader for good."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        check_regular(path, os.fstat(descriptor).st_mode)
    except LogLLMError:
        os.close(descriptor)
        raise
    return descriptor
