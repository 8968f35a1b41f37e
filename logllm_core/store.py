"""The store: the only place that decides whether something is built or reused.

An artifact is a folder `<data dir>/<kind>/<dataset>/<fingerprint>/`. Its fingerprint covers the
configuration, the fingerprints of its inputs and a version that the building module raises by hand.
It is built beside its place under a lock and renamed, with `manifest.json` written last, so that
nothing half-written can pass for whole.
"""

import errno
import hashlib
import json
import os
import platform
import resource
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from loguru import logger

from logllm_core.errors import LogLLMError

Kind = Literal["raw", "messages", "windows", "backbones", "models", "predictions", "runs"]
Json = Any  # what json.dumps takes
FINGERPRINT_LENGTH = 16  # hexadecimal digits of the SHA-256 that name a folder
MANIFEST = "manifest.json"
# Packages whose version may change a result; recorded in every manifest.
RECORDED_PACKAGES = [
    "logllm",
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "numpy",
    "pyarrow",
    "duckdb",
    "scikit-learn",
    "prefect",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A finished folder of the store."""

    kind: Kind
    dataset: str
    fingerprint: str
    path: Path

    @property
    def manifest(self) -> dict[str, Json]:
        content: dict[str, Json] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        return content

    @property
    def results(self) -> dict[str, Json]:
        """What came out, as the builder returned it."""
        results: dict[str, Json] = self.manifest["results"]
        return results


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """All artifacts below one data folder."""

    data_dir: Path

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
            LogLLMError: from `build`, or when the folder cannot be written.
        """
        wanted = {
            "config": dict(config),
            "inputs": {name: artifact.fingerprint for name, artifact in inputs.items()},
            "version": version,
        }
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        fingerprint = digest[:FINGERPRINT_LENGTH]
        place = self.data_dir / kind / dataset / fingerprint
        found = Artifact(kind=kind, dataset=dataset, fingerprint=fingerprint, path=place)
        with _writable(place.parent):
            place.parent.mkdir(parents=True, exist_ok=True)
            with _lock(place.parent / f".{fingerprint}.lock"):
                if is_whole(place):
                    (place / MANIFEST).touch()  # the newest manifest is the one in use
                    logger.info("{} of {}: reused {}", kind, dataset, fingerprint)
                    return found
                self._build(place, {"kind": kind, "dataset": dataset, **wanted}, build)
        return found

    def _build(
        self, place: Path, wanted: dict[str, Json], build: Callable[[Path], Mapping[str, Json]]
    ) -> None:
        beside = place.parent / f".{place.name}.building"
        for leftover in (beside, place):  # of a build that was cut off, or damaged since
            shutil.rmtree(leftover, ignore_errors=True)
        beside.mkdir()
        started = time.perf_counter()
        try:
            results = build(beside)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        manifest = {
            **wanted,
            "fingerprint": place.name,
            "results": dict(results),
            "files": _describe_files(beside),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "machine": describe_machine(),
            "versions": recorded_versions(),
        }
        (beside / MANIFEST).write_text(
            json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        _flush_to_disk(beside)
        beside.rename(place)

    def all(self, kind: Kind, dataset: str) -> list[Artifact]:
        """Whole artifacts of this kind, the one that was built or reused last first."""
        places = [
            path.parent for path in (self.data_dir / kind / dataset).glob(f"[!.]*/{MANIFEST}")
        ]
        places.sort(key=lambda place: (place / MANIFEST).stat().st_mtime_ns, reverse=True)
        return [
            Artifact(kind=kind, dataset=dataset, fingerprint=place.name, path=place)
            for place in places
            if is_whole(place)
        ]

    def newest(self, kind: Kind, dataset: str, fingerprint: str | None = None) -> Artifact | None:
        """The artifact that was built or reused last, or the one of that fingerprint."""
        found = self.all(kind, dataset)
        return next((a for a in found if fingerprint in (None, a.fingerprint)), None)


def is_whole(place: Path) -> bool:
    """Whether the folder has a manifest and every file in it has the size it says."""
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        sizes = {entry["name"]: entry["size_bytes"] for entry in manifest["files"]}
        return all((place / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
        return False


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_machine() -> dict[str, Json]:
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "num_cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def recorded_versions() -> dict[str, str]:
    found = {}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _describe_files(folder: Path) -> list[dict[str, Json]]:
    return [
        {
            "name": path.relative_to(folder).as_posix(),
            "size_bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _flush_to_disk(folder: Path) -> None:
    """So that a power cut after the rename cannot leave empty files behind a whole manifest."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _lock(path: Path):  # type: ignore[no-untyped-def]
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("Another process builds {}; waiting for it", path.stem.lstrip("."))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writable(folder: Path):  # type: ignore[no-untyped-def]
    """Turn the operating system's refusals to write below `folder` into one clear error."""
    refusals = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST}
    try:
        yield
    except OSError as fault:
        is_ours = fault.filename is None or _is_related(Path(fault.filename), folder)
        if fault.errno not in refusals or not is_ours:
            raise
        raise LogLLMError(
            f"Cannot write to {folder}: {fault.strerror}. Free some space, mend the permissions, "
            "or choose another folder with --data-dir."
        ) from fault


def _is_related(path: Path, folder: Path) -> bool:
    """Whether one of the two lies below the other."""
    return path.is_relative_to(folder) or folder.is_relative_to(path)
