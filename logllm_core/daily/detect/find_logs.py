"""The new logs that a user names: files, folders, standard input."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from logllm_core.daily.detect.log_identity import PIPE
from logllm_core.errors import LogLLMError
from logllm_core.logs.sources.addresses import is_address
from logllm_core.logs.sources.archives import endings
from logllm_core.logs.sources.special_files import check_is_file, special_kind

HIDDEN = "hidden files and folders"
OUTSIDE = "links that lead outside of the folder"
UNLISTED = "folders that cannot be listed"
SPECIAL = "pipes, devices and broken links"
ARCHIVES = "archives of several files (.tar, .zip)"
NOT_UTF_8 = "files whose names are not UTF-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundLogs:
    """Logs to read, in order, and what lies beside them in the folders."""

    paths: tuple[str, ...]
    left_out: Mapping[str, int]  # what kind, and how many


def find_logs(given: Sequence[str], *, is_to_come: bool = False) -> FoundLogs:
    """The files that are meant, those of a folder and the folders below in order of their names.

    What is named twice, by whatever name, is read once. An empty folder gives none.

    Args:
        is_to_come: whether a file that does not exist may be waited for.

    Raises:
        LogLLMError: one of them is an address, does not exist or is no log.
    """
    left_out: Counter[str] = Counter()
    paths: dict[str, str] = {}
    for name in given:
        is_there = os.path.lexists(name) or is_address(name) or name == PIPE
        for path in _logs_at(name, left_out) if is_there or not is_to_come else [name]:
            paths.setdefault(os.path.realpath(path) if path != PIPE else PIPE, path)
    return FoundLogs(paths=tuple(paths.values()), left_out=dict(left_out))


def _logs_at(given: str, left_out: Counter[str]) -> Iterator[str]:
    if given == PIPE:
        yield PIPE
        return
    if is_address(given):
        raise LogLLMError(
            f"{given} is an address; new logs are files of this machine, or come through a pipe. "
            "Copy the log here, or pipe it in as -."
        )
    path = Path(given)
    if path.is_dir():
        yield from _logs_below(path, left_out)
    elif path.is_file():
        check_is_file(given)
        if reason := _fault(path):
            raise LogLLMError(f"{given!r} cannot be read: no {reason}. Unpack or rename it.")
        yield given
    elif path.exists():
        raise LogLLMError(f"{given} is a pipe or a device. Read it as standard input: < {given}")
    else:
        raise LogLLMError(f"There is no file {given}. Mend the path.")


def _logs_below(folder: Path, left_out: Counter[str]) -> Iterator[str]:
    root = folder.resolve()

    def count(_: OSError) -> None:
        left_out[UNLISTED] += 1

    for parent, dirs, names in os.walk(folder, onerror=count):
        links = [name for name in dirs if (Path(parent) / name).is_symlink()]  # not walked into
        for name in sorted(names + links):
            path = Path(parent) / name
            try:
                reason = _reason_to_leave_out(path, root)
            except OSError:  # the names of this folder can be listed, and nothing behind them
                reason = UNLISTED
            if reason:
                left_out[reason] += 1
            elif path.is_file():
                yield str(path)
        hidden = {name for name in dirs if name.startswith(".")}.difference(links)
        if hidden:
            left_out[HIDDEN] += len(hidden)
        dirs[:] = sorted(set(dirs) - hidden)


def _reason_to_leave_out(path: Path, root: Path) -> str | None:
    if path.name.startswith("."):
        return HIDDEN
    if path.is_symlink() and path.exists() and not path.resolve().is_relative_to(root):
        return OUTSIDE
    # A link to a folder within: it is walked there.
    if special_kind(str(path)) or not (path.is_file() or path.is_dir()):
        return SPECIAL
    return _fault(path)


def _fault(path: Path) -> str | None:
    """Why a file is no log that can be read."""
    if endings(path.name)[0].endswith((".tar", ".zip")):
        return ARCHIVES
    if str(path) != str(path).encode(errors="replace").decode():
        return NOT_UTF_8
    return None
