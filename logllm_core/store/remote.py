"""The remote: where machines share finished artifacts, at any address that fsspec knows.

An object store has neither rename nor lock. An artifact's files go below
`<address>/<place>/<upload>/`, where no other upload writes; then one small object
`<address>/<place>/manifest.json` names that upload. Without it nothing is there. Of two machines
that push the same, the last manifest wins. An upload is never removed: it may be being read.
"""

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from loguru import logger
from pydantic import ValidationError

from logllm_core.errors import LogLLMError
from logllm_core.progress import Advance, track
from logllm_core.store.disk import writable
from logllm_core.store.manifest import MANIFEST, ForeignManifest
from logllm_core.store.sealed_json import seal, unseal

HINTS = {  # what to do, by the fault
    "FileNotFoundError": "Create the bucket, or mend the address.",
    "PermissionError": "Allow these credentials to list, read and write there.",
    "NoCredentials": "Give credentials; for s3://, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
}


class DamagedError(Exception):
    """What the remote holds is not whole, or is not what was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """Finished artifacts below an address; LogLLMError is raised where it cannot be used."""

    address: str

    def __str__(self) -> str:
        return re.sub(r"(?<=://)[^/@]*@", "", self.address)  # without a password

    def manifest_of(self, place: str) -> dict[str, Any] | None:
        """The manifest of what lies at `place`, None where nothing does.

        Raises:
            DamagedError: it is cut off, or names files outside the artifact.
        """
        fs, path = self._open(place)
        with _explained(f"Cannot read {self}"):
            try:
                content = fs.cat_file(f"{path}/{MANIFEST}")
            except FileNotFoundError as fault:
                if type(fault.__cause__).__name__ == "NoSuchBucket":  # as botocore names it
                    raise
                return None
        try:
            manifest = unseal(content)
            ForeignManifest.model_validate(manifest)
        except ValidationError as fault:
            raise DamagedError(f"its manifest: {fault.errors()[0]['msg']}") from None
        except ValueError as fault:
            raise DamagedError(f"its manifest: {fault}") from None
        return manifest

    def fetch(self, place: str, manifest: Mapping[str, Any], folder: Path) -> None:
        """Fetch the files that a manifest of `manifest_of` names; the caller checks their content.

        Raises:
            DamagedError: a file is missing.
        """
        fs, path = self._open(place)
        found = ForeignManifest.model_validate(manifest)
        sizes = {file.name: file.size_bytes for file in found.files}
        with (
            track(f"Fetching {place}", total=sum(sizes.values()), unit="bytes") as advance,
            _explained(f"Cannot fetch {place} from {self}"),
            writable(folder.parent),
        ):
            for name, size_bytes in sizes.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                source = f"{path}/{found.upload}/{name}"
                try:
                    with _counted(advance, size_bytes) as told:
                        fs.get_file(source, str(folder / name), callback=told)
                except FileNotFoundError:
                    raise DamagedError(f"{name} is missing") from None
        logger.info("{}: fetched {:,} bytes from {}", place, sum(sizes.values()), self)

    def push(self, place: str, folder: Path) -> None:
        """Push the files that the manifest in `folder` names, then the manifest."""
        fs, path = self._open(place)
        manifest = unseal((folder / MANIFEST).read_bytes())
        upload = uuid.uuid4().hex
        sizes = {file["name"]: file["size_bytes"] for file in manifest["files"]}
        with (
            track(f"Pushing {place}", total=sum(sizes.values()), unit="bytes") as advance,
            _explained(f"{folder} is kept, but not pushed to {self}; the same command tries again"),
        ):
            for name, size_bytes in sizes.items():
                with _counted(advance, size_bytes) as told:
                    fs.put_file(str(folder / name), f"{path}/{upload}/{name}", callback=told)
            fs.pipe_file(f"{path}/{MANIFEST}", seal(manifest | {"upload": upload}))
        logger.info("{}: pushed {:,} bytes to {}", place, sum(sizes.values()), self)

    def _open(self, place: str) -> tuple[Any, str]:
        protocol, separator, rest = self.address.partition("://")
        if not separator or not rest.strip("/"):
            raise LogLLMError(f"{self} names no remote. Write s3://bucket/folder.")
        # A folder is made where there are folders; a bucket is never made by the way.
        options = {"auto_mkdir": True} if protocol in {"file", "local"} else {}
        with _explained(f"Cannot open {self}"):
            try:
                fs, root = fsspec.url_to_fs(self.address, **options)
            except ImportError as fault:
                how = "pip install -e '.[s3]' -c constraints.txt" if protocol == "s3" else fault
                raise LogLLMError(f"{self} needs a package that is missing: {how}.") from fault
        return fs, f"{str(root).rstrip('/')}/{place}"


@contextmanager
def _counted(advance: Advance, size_bytes: int) -> Iterator[Any]:
    """An fsspec callback that passes on how far one file is."""
    done = 0

    def report(_: int | None, value: int, **__: object) -> None:
        nonlocal done
        advance(value - done)
        done = value

    yield fsspec.Callback(hooks={"advance": report})
    advance(size_bytes - done)  # file:// reports nothing


@contextmanager
def _explained(task: str) -> Iterator[None]:
    """One error for whatever a backend raises: each has exception classes of its own."""
    try:
        yield
    except (LogLLMError, DamagedError):
        raise
    except Exception as fault:
        said = str(fault).rstrip(".") or type(fault).__name__
        kind = "NoCredentials" if "credentials" in said.lower() else type(fault).__name__
        hint = HINTS.get(kind, "Check the address and the network, or leave the remote out.")
        raise LogLLMError(f"{task}: {said}. {hint}") from fault
