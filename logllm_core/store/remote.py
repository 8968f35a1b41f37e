"""The remote: where machines share finished artifacts, at any address that fsspec knows.

An object store has neither rename nor lock. An artifact's files go below
`<address>/<artifact>/<upload>/`, where no other upload writes; then one small object
`<address>/<artifact>/manifest.json` names that upload. Without it nothing is there. Of two machines
that push the same, the last manifest wins. An upload is never removed: it may be being read.
"""

import json
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
from logllm_core.store.disk import whole_folder, writable
from logllm_core.store.intact_files import describe_files
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

    def shares(self, name: str, wanted: Mapping[str, Any], *, into: Path | None) -> bool:
        """Whether it has a copy to use, which is fetched where a folder is named.

        Else only the copy's manifest is read. Of a copy that is damaged, or is of something else,
        it is told that it is not used.

        Args:
            name: of the artifact, see `Artifact.name`.
            wanted: what its manifest must say.
        """
        try:
            manifest = self._manifest_of(name)
            if manifest is None:
                return False
            as_read = json.loads(json.dumps(wanted))  # tuples are lists there
            if any(manifest.get(key) != value for key, value in as_read.items()):
                raise DamagedError("its manifest tells of another artifact")
            if into is not None:
                with whole_folder(into) as beside:
                    self._fetch(name, manifest, beside)
                    if describe_files(beside) != manifest["files"]:
                        raise DamagedError("its files are not those that its manifest lists")
                    (beside / MANIFEST).write_bytes(seal(manifest))
        except DamagedError as fault:
            logger.warning("The copy of {} at {} is not used: {}", name, self, fault)
            return False
        return True

    def _manifest_of(self, name: str) -> dict[str, Any] | None:
        """The manifest of what lies there, None where nothing does.

        Raises:
            DamagedError: it is cut off, or names files outside the artifact.
        """
        fs, below = self._open(name)
        with _explained(f"Cannot read {self}"):
            try:
                content = fs.cat_file(f"{below}/{MANIFEST}")
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

    def _fetch(self, name: str, manifest: Mapping[str, Any], folder: Path) -> None:
        """Fetch the files that a manifest of `_manifest_of` names; what they hold is to be checked.

        Raises:
            DamagedError: a file is missing.
        """
        fs, below = self._open(name)
        listed = ForeignManifest.model_validate(manifest)
        sizes = {file.name: file.size_bytes for file in listed.files}
        with (
            track(f"Fetching {name}", total=sum(sizes.values()), unit="bytes") as advance,
            _explained(f"Cannot fetch {name} from {self}"),
            writable(folder.parent),
        ):
            for file_name, size_bytes in sizes.items():
                path = folder / file_name
                path.parent.mkdir(parents=True, exist_ok=True)
                source = f"{below}/{listed.upload}/{file_name}"
                try:
                    with _counted(advance, size_bytes) as callback:
                        fs.get_file(source, str(path), callback=callback)
                except FileNotFoundError:
                    raise DamagedError(f"{file_name} is missing") from None
        logger.info("{}: fetched {:,} bytes from {}", name, sum(sizes.values()), self)

    def push(self, name: str, folder: Path) -> None:
        """Push the files that the manifest in `folder` names, then the manifest."""
        fs, below = self._open(name)
        manifest = unseal((folder / MANIFEST).read_bytes())
        upload = uuid.uuid4().hex
        sizes = {file["name"]: file["size_bytes"] for file in manifest["files"]}
        with (
            track(f"Pushing {name}", total=sum(sizes.values()), unit="bytes") as advance,
            _explained(f"{folder} is kept, but not pushed to {self}; the same command tries again"),
        ):
            for file_name, size_bytes in sizes.items():
                target = f"{below}/{upload}/{file_name}"
                with _counted(advance, size_bytes) as callback:
                    fs.put_file(str(folder / file_name), target, callback=callback)
            fs.pipe_file(f"{below}/{MANIFEST}", seal(manifest | {"upload": upload}))
        logger.info("{}: pushed {:,} bytes to {}", name, sum(sizes.values()), self)

    def _open(self, name: str) -> tuple[Any, str]:
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
        return fs, f"{str(root).rstrip('/')}/{name}"


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
