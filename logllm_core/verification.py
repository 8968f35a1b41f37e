"""Whether a data folder still holds what was written into it: every file is read again.

A file that was whole once is believed as long as it looks the same (`intact_files`). A disk that
loses bits changes no time, so somebody has to read all of it now and then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from logllm_core.daily.champion.decisions import CHAMPION, read_decisions
from logllm_core.daily.ledger.cursors import CHANGED, Cursor, cursor_paths, damaged, read_cursor
from logllm_core.errors import LogLLMError
from logllm_core.progress import track
from logllm_core.store.intact_files import damage_of, sha256_of
from logllm_core.store.store import Artifact, Kind, Store

TO_REMOVE = "`logllm verify --repair` sets it aside, and it is built anew when it is wanted."


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """One thing that is not as it was written."""

    path: Path
    fault: str  # a sentence or two: what is wrong, what to do
    set_aside: Path | None = None  # where it is now


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What came out."""

    num_artifacts: int
    num_records: int
    damages: tuple[Damage, ...]

    @property
    def num_left(self) -> int:
        """So many damages stay until somebody sees to them."""
        return sum(damage.set_aside is None for damage in self.damages)


def verify(store: Store, *, is_repairing: bool) -> Verified:
    """Read all artifacts of a data folder, and the records of its champions and its new logs.

    Args:
        is_repairing: whether damaged artifacts are set aside. What was decided and which lines
            were judged cannot be worked out again, so damaged records stay where they are.

    Raises:
        LogLLMError: the folder is not there, or cannot be written to.
    """
    if not store.data_dir.is_dir():
        raise LogLLMError(f"There is no folder {store.data_dir}. Name another with --data-dir.")
    artifacts = list(_artifacts(store))
    damages = []
    with track("Verifying", total=len(artifacts), unit="artifacts") as advance:
        for artifact in artifacts:
            if fault := damage_of(artifact.path, is_remembered=False):
                damages.append(_damaged(store, artifact, fault, is_repairing=is_repairing))
            advance(1)
    records = list(_records(store))
    damages += [record for record in records if isinstance(record, Damage)]
    return Verified(num_artifacts=len(artifacts), num_records=len(records), damages=tuple(damages))


def _artifacts(store: Store) -> Iterator[Artifact]:
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        for path in sorted((store.data_dir / kind).glob("[!.]*/[!.]*")):
            # New logs' verdicts are no artifact: they grow.
            if path.is_dir() and (kind, path.name) != ("predictions", "new"):
                yield Artifact(
                    kind=kind, dataset=path.parent.name, fingerprint=path.name, path=path
                )


def _damaged(store: Store, artifact: Artifact, fault: str, *, is_repairing: bool) -> Damage:
    aside = store.set_aside(artifact) if is_repairing else None
    return Damage(path=artifact.path, fault=f"{fault}. {TO_REMOVE}", set_aside=aside)


def _parts(folder: Path, cursor: Cursor) -> Iterator[Path | Damage]:
    """The tables of verdicts that a cursor names."""
    for part in cursor.parts:
        path = folder / part.name
        try:
            sha256 = sha256_of(path)
        except OSError as fault:
            yield Damage(path=path, fault=str(damaged(folder, fault.strerror, part.name)))
            continue
        if part.sha256 in (None, sha256):
            yield path
        else:
            yield Damage(path=path, fault=str(damaged(folder, CHANGED, part.name)))


def _records(store: Store) -> Iterator[Path | Damage]:
    """Each record and each table of verdicts on new logs, or what is wrong with it."""
    for path in sorted((store.data_dir / "models").glob(f"[!.]*/{CHAMPION}")):
        try:
            read_decisions(store, path.parent.name)
            yield path
        except LogLLMError as fault:
            yield Damage(path=path, fault=str(fault))
    for folder in sorted((store.data_dir / "predictions").glob("[!.]*/new")):
        for path in cursor_paths(store, folder.parent.name):
            try:
                cursor = read_cursor(path.parent)
            except LogLLMError as fault:
                yield Damage(path=path, fault=str(fault))
                continue
            yield path
            yield from _parts(path.parent, cursor)
