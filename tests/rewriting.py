"""Artifacts that a test changes, and that pass for whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logllm_core.store.intact_files import sha256_of
from logllm_core.store.manifest import MANIFEST
from logllm_core.store.sealed_json import seal, unseal


def rewrite(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Have the manifest tell of the files as they are now, and of `changes`."""
    manifest = unseal((folder / MANIFEST).read_bytes()) | dict(changes or {})
    paths = [folder / entry["name"] for entry in manifest["files"]]
    manifest["files"] = [
        {
            "name": path.relative_to(folder).as_posix(),
            "size_bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in paths
        if path.exists()
    ]
    (folder / MANIFEST).write_bytes(seal(manifest))
