"""What a manifest tells: by what a result was made, and which files it has."""

import os
import platform
import resource
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, Field, NonNegativeInt, field_validator

MANIFEST = "manifest.json"

# Packages whose version may change a result.
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


def describe_build(*, seconds: float) -> dict[str, Any]:
    """When a build that has just ended did so, what it cost, and by what it was made."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "machine": describe_machine(),
        "versions": recorded_versions(),
    }


def describe_machine() -> dict[str, str | int | None]:
    """The system, the processor and the Python that a build ran on."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "num_cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def recorded_versions() -> dict[str, str]:
    """Versions of those of RECORDED_PACKAGES that are installed."""
    versions = {}
    for package in RECORDED_PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


class ListedFile(BaseModel, frozen=True):
    """A file of an artifact, named by its path inside."""

    name: str
    size_bytes: NonNegativeInt
    sha256: str


class ForeignManifest(BaseModel, frozen=True):
    """What a manifest from elsewhere lists. Its names become paths here, so they are checked."""

    upload: str = Field(pattern="^[0-9a-f]{32}$")
    files: tuple[ListedFile, ...]

    @field_validator("files")
    @classmethod
    def _stay_inside(cls, files: Sequence[ListedFile]) -> Sequence[ListedFile]:
        paths = {PurePosixPath(file.name) for file in files}
        folders = {PurePosixPath(), *(folder for path in paths for folder in path.parents)}
        for file in files:
            path = PurePosixPath(file.name)
            is_plain = str(path) == file.name and not path.is_absolute() and "\0" not in file.name
            if not is_plain or ".." in path.parts or path in folders or file.name == MANIFEST:
                raise ValueError(f"the file name {file.name!r} is not allowed")
        if len(paths) < len(files):
            raise ValueError("a file is named twice")
        return files
