"""Artifacts that hold equal files hold one file, under several names.

A log that grows is prepared every night. What has not changed since is then written again, but it
does not lie on the disk once more: a file that an earlier artifact has already is linked.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from logllm_core.contents import damage_of, listed_files

NUM_COMPARED = 8  # earlier artifacts, the newest first: other settings may have built in between
LINKED = ".linked"  # ends a name that is about to take its place


def share_files(folder: Path, files: Iterable[Mapping[str, Any]], earlier: Iterable[Path]) -> None:
    """Let files take the place of equal ones in earlier artifacts; these are read to be sure.

    Args:
        folder: what was built and is not in its place yet.
        files: its files, as manifests list them.
        earlier: folders of other artifacts, best first.
    """
    wanted = {file["sha256"]: file["name"] for file in files if file["size_bytes"]}
    for place in list(earlier)[:NUM_COMPARED]:
        equal = {sha256: name for sha256, name in _listed(place).items() if sha256 in wanted}
        if not equal or damage_of(place):
            continue
        for sha256, name in equal.items():
            link_over(place / name, folder / wanted.pop(sha256))


def link(existing: Path, path: Path) -> None:
    """The same file under another name, or a copy where the file system knows no links."""
    try:
        os.link(existing, path)
    except OSError:
        shutil.copyfile(existing, path)


def link_over(existing: Path, path: Path) -> None:
    """Let a file be another name of an equal one; where that cannot be, it stays what it is."""
    if existing.samefile(path):
        return
    beside = path.with_name(f".{path.name}{LINKED}")
    try:
        os.link(existing, beside)
    except OSError:  # no links here, or too many of this file
        return
    beside.replace(path)


def _listed(place: Path) -> dict[str, str]:
    """The names of an artifact's files by their SHA-256; nothing where that cannot be told."""
    try:
        return {file.sha256: file.name for file in listed_files(place)}
    except (OSError, ValueError):
        return {}
