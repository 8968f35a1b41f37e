"""Artifacts that hold equal files hold one file, under several names.

A log that grows is prepared every night. What has not changed since is then written again, but it
does not lie on the disk once more: a file that an earlier artifact has already is linked.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from logllm_core.store.disk import whole_file
from logllm_core.store.intact_files import listed_files, sha256_of

NUM_COMPARED = 8  # earlier artifacts, the newest first: other settings may have built in between


def share_files(folder: Path, files: Iterable[Mapping[str, Any]], earlier: Iterable[Path]) -> None:
    """Let equal files of earlier artifacts take the place of files; they are read to be sure.

    Args:
        folder: what was built and is not in its place yet.
        files: its files, as manifests list them.
        earlier: folders of other artifacts, best first.
    """
    wanted = {file["sha256"]: file["name"] for file in files}
    for other in list(earlier)[:NUM_COMPARED]:
        for sha256, name in _listed(other).items():
            if sha256 in wanted and _holds(other / name, sha256):
                link_over(other / name, folder / wanted.pop(sha256))


def link(existing: Path, path: Path) -> None:
    """The same file under another name, or a copy where the file system knows no links."""
    try:
        os.link(existing, path)
    except OSError:
        shutil.copyfile(existing, path)


def link_over(existing: Path, path: Path) -> None:
    """Let a file be another name of an equal one; where that cannot be, it stays what it is."""
    with suppress(OSError):  # no links here, too many of this file, or it was removed this moment
        if not existing.samefile(path):
            with whole_file(path) as beside:
                os.link(existing, beside)


def _holds(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


def _listed(artifact_dir: Path) -> dict[str, str]:
    """The names of an artifact's files by their SHA-256; nothing where that cannot be told."""
    try:
        return {file.sha256: file.name for file in listed_files(artifact_dir)}
    except (OSError, ValueError):
        return {}
