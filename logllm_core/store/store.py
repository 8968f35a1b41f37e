"""The store: the only place that decides whether something is built or reused.

An artifact is a folder `<data dir>/<kind>/<dataset>/<fingerprint>/`. Its fingerprint covers the
configuration, the fingerprints of its inputs and a version that the building module raises by hand.
It is built beside its place under a lock and renamed, with `manifest.json` written last, so that
nothing half-written can pass for whole. All work is done on these local folders; with a remote,
finished ones are shared through it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from loguru import logger

from logllm_core.store.disk import lock, set_aside, whole_folder, writable
from logllm_core.store.intact_files import REPAIR, damage_of, describe_files, is_whole
from logllm_core.store.manifest import MANIFEST, describe_build
from logllm_core.store.newest import mark_as_newest, newest_first
from logllm_core.store.remote import Remote
from logllm_core.store.sealed_json import read_record, seal
from logllm_core.store.shared_files import share_files

Kind = Literal[
    "raw",
    "parts",
    "messages",
    "windows",
    "backbones",
    "models",
    "vectors",
    "predictions",
    "runs",
    "detectors",
    "experiments",
]
Json = Any  # what json.dumps takes
FINGERPRINT_LENGTH = 16  # hexadecimal digits of the SHA-256 that name a folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A finished folder of the store."""

    kind: Kind
    dataset: str
    fingerprint: str
    path: Path

    @property
    def name(self) -> str:
        """Where it lies, below a data folder or a remote."""
        return f"{self.kind}/{self.dataset}/{self.fingerprint}"

    @property
    def manifest(self) -> dict[str, Json]:
        """What was asked for and what came out.

        Raises:
            LogLLMError: it is damaged.
        """
        return read_record(self.path / MANIFEST, advice=REPAIR)

    @property
    def results(self) -> dict[str, Json]:
        """What came out, as the builder returned it."""
        results: dict[str, Json] = self.manifest["results"]
        return results


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """All artifacts below one data folder.

    Args:
        data_dir: where everything is built and read.
        remote: an fsspec address, such as s3://bucket/logllm, through which machines share what
            is finished: what it holds is fetched, what it lacks is pushed. No data folder itself.
    """

    data_dir: Path
    remote: str | None = None

    def reuse_or_build(
        self,
        kind: Kind,
        dataset: str,
        *,
        config: Mapping[str, Json],
        inputs: Mapping[str, Artifact],
        version: int,
        build: Callable[[Path], Mapping[str, Json]],
    ) -> Artifact:
        """The artifact that this configuration and these inputs give, built if it is not there.

        Args:
            kind, dataset: name the folder; not part of the fingerprint.
            config: everything that shapes the result, as JSON.
            inputs: artifacts that the build reads.
            version: the building module's constant, raised when its output changes.
            build: fills an empty folder and returns the results for the manifest.

        Raises:
            LogLLMError: from `build`, when the folder cannot be written, or when the remote cannot
                be used; what was built is kept, and pushed when the same is wanted again.
        """
        wanted = _wanted(kind, dataset, config, inputs, version)
        with self._claimed(wanted) as artifact:
            if not self._reuse(artifact, wanted):
                _build(artifact.path, wanted, build)
                if self.remote:
                    Remote(address=self.remote).push(artifact.name, artifact.path)
        return artifact

    def find(
        self,
        kind: Kind,
        dataset: str,
        *,
        config: Mapping[str, Json],
        inputs: Mapping[str, Artifact],
        version: int,
    ) -> Artifact | None:
        """The artifact that `reuse_or_build` would reuse or fetch; None where it would build.

        Where another process is building it, that is waited for. Raises as `reuse_or_build` does.
        """
        wanted = _wanted(kind, dataset, config, inputs, version)
        with self._claimed(wanted) as artifact:
            return artifact if self._reuse(artifact, wanted, is_told=False) else None

    @contextmanager
    def _claimed(self, wanted: Mapping[str, Json]) -> Iterator[Artifact]:
        """The artifact's place, kept from all others."""
        artifact = self.named(*(wanted[key] for key in ("kind", "dataset", "fingerprint")))
        path = artifact.path
        with writable(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            with lock(_lock_path(path)):
                yield artifact

    def _reuse(
        self, artifact: Artifact, wanted: Mapping[str, Json], *, is_told: bool = True
    ) -> bool:
        """Whether the artifact is there, or could be fetched; what the remote lacks is pushed."""
        remote = Remote(address=self.remote) if self.remote else None
        is_here = _is_intact(artifact)
        into = None if is_here else artifact.path
        is_shared = remote is not None and remote.shares(artifact.name, wanted, into=into)
        if is_here and is_told:
            logger.info(
                "{} of {}: reused {}", artifact.kind, artifact.dataset, artifact.fingerprint
            )
        if is_here or is_shared:
            mark_as_newest(artifact.path)
        if is_here and remote and not is_shared:  # a push was cut off, or there was no remote then
            remote.push(artifact.name, artifact.path)
        return is_here or is_shared

    def set_aside(self, artifact: Artifact) -> Path:
        """Take an artifact out of use without removing it; returns where it is then.

        Raises:
            LogLLMError: the folder cannot be written to.
        """
        with writable(artifact.path.parent), lock(_lock_path(artifact.path)):
            return set_aside(artifact.path, "damaged")

    def all(self, kind: Kind, dataset: str) -> list[Artifact]:
        """Whole artifacts of this kind, the one that was built or reused last first.

        What is not whole is told, once, and left out.
        """
        paths = newest_first(self.data_dir / kind / dataset)
        whole = (path for path in paths if is_whole(path) or _tell_damaged(path))
        return [self.named(kind, dataset, path.name) for path in whole]

    def named(self, kind: Kind, dataset: str, fingerprint: str) -> Artifact:
        """The artifact of that fingerprint, which need not be there."""
        path = self.data_dir / kind / dataset / fingerprint
        return Artifact(kind=kind, dataset=dataset, fingerprint=fingerprint, path=path)

    def newest(self, kind: Kind, dataset: str, fingerprint: str | None = None) -> Artifact | None:
        """The artifact that was built or reused last, or the one of that fingerprint."""
        artifacts = self.all(kind, dataset)
        return next((a for a in artifacts if fingerprint in (None, a.fingerprint)), None)


def _is_intact(artifact: Artifact) -> bool:
    """Whether there is something to reuse; what is damaged is told, and counts for nothing."""
    if not artifact.path.exists():
        return False
    if damage := damage_of(artifact.path):
        logger.warning(
            "{} of {}: {} is damaged, and not used: {}",
            *(artifact.kind, artifact.dataset, artifact.fingerprint, damage),
        )
    return damage is None


@cache
def _tell_damaged(artifact_dir: Path) -> None:
    logger.warning("{} is damaged, and left out. What it is: logllm verify", artifact_dir)


def _wanted(
    kind: Kind,
    dataset: str,
    config: Mapping[str, Json],
    inputs: Mapping[str, Artifact],
    version: int,
) -> dict[str, Json]:
    """What a manifest says was wanted, and the fingerprint that this gives."""
    shaping = {
        "config": dict(config),
        "inputs": {name: artifact.fingerprint for name, artifact in inputs.items()},
        "version": version,
    }
    digest = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()
    fingerprint = digest[:FINGERPRINT_LENGTH]
    return {"kind": kind, "dataset": dataset, **shaping, "fingerprint": fingerprint}


def _build(
    path: Path, wanted: Mapping[str, Json], build: Callable[[Path], Mapping[str, Json]]
) -> None:
    with whole_folder(path) as beside:
        started = time.perf_counter()
        results = build(beside)
        files = describe_files(beside)
        share_files(beside, files, newest_first(path.parent))
        manifest = {
            **wanted,
            "results": dict(results),
            "files": files,
            **describe_build(seconds=time.perf_counter() - started),
        }
        (beside / MANIFEST).write_bytes(seal(manifest))
    mark_as_newest(path)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
