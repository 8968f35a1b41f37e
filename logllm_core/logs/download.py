"""Raw logs: fetched from their publisher or a mirror, simulated, or a file of the user's own.

Whatever its origin, a raw log becomes an artifact whose manifest says where it came from and with
which checksums. Archives are read as streams; nothing is unpacked.
"""

import gzip
import hashlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import httpx
from loguru import logger
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from logllm_core.errors import LogLLMError
from logllm_core.logs import simulator
from logllm_core.logs.catalog import Archive, Dataset, LocalFile, Simulator
from logllm_core.progress import track
from logllm_core.store import Artifact, Json, Store, sha256_of

VERSION = 1
CHUNK_BYTES = 1 << 20
CHECKSUMS = "SHA256SUMS"  # of a mirror, as the program sha256sum writes it


@dataclass(frozen=True, kw_only=True, slots=True)
class Checksums:
    size_bytes: int
    md5: str
    sha256: str


def obtain_log(store: Store, dataset: Dataset, *, mirror: Path | None) -> Artifact:
    """The raw log as an artifact.

    Args:
        mirror: a folder that holds archives under their official names. Given, nothing is fetched
            from the network; its SHA256SUMS, where there is one, replaces the published checksums.

    Raises:
        LogLLMError: the log is not to be had, or is not what was published.
    """
    source = dataset.source
    if isinstance(source, Simulator):
        config = source.model_dump(mode="json") | {"writer": simulator.VERSION}
        return store.reuse_or_build(
            "raw",
            dataset.name,
            config={"origin": "simulator", **config},
            inputs={},
            version=VERSION,
            build=lambda out_dir: _simulate(out_dir, source),
        )
    if isinstance(source, LocalFile):
        return _local_log(store, dataset.name, source)
    if mirror is not None:
        return _mirrored_log(store, dataset.name, source, mirror)
    return store.reuse_or_build(
        "raw",
        dataset.name,
        config={"origin": "official", "source": source.model_dump(mode="json")},
        inputs={},
        version=VERSION,
        build=lambda out_dir: _fetch(source, out_dir),
    )


def _simulate(out_dir: Path, source: Simulator) -> dict[str, Json]:
    log_path = out_dir / "simulated.log"
    counts = simulator.write_log(
        log_path,
        num_lines=source.num_lines,
        seed=source.seed,
        unstable_from_fraction=source.unstable_from_fraction,
    )
    return {"origin": "simulator", "log": log_path.name, **counts}


def _local_log(store: Store, name: str, source: LocalFile) -> Artifact:
    """The file stays where it is; the artifact pins its content."""
    sums = {
        role: path and _sha256_or_refuse(path)
        for role, path in (("log", source.path), ("labels", source.label_path))
    }
    results = {
        "origin": "file",
        "log": str(source.path),
        "labels": source.label_path and str(source.label_path),
        "size_bytes": source.path.stat().st_size,
        "sha256": sums["log"],
    }
    return store.reuse_or_build(
        "raw",
        name,
        config={"origin": "file", **sums, "paths": [results["log"], results["labels"]]},
        inputs={},
        version=VERSION,
        build=lambda _: results,
    )


def _sha256_or_refuse(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError:
        raise LogLLMError(
            f'There is no file {path}. Mend "path" in the data set\'s TOML file.'
        ) from None
    except OSError as fault:
        raise LogLLMError(f"Cannot read {path}: {fault.strerror}. Mend its permissions.") from None


def _mirrored_log(store: Store, name: str, source: Archive, mirror: Path) -> Artifact:
    archive = mirror / source.file_name
    if not archive.is_file():
        held = ", ".join(sorted(p.name for p in mirror.glob("*"))) or "nothing"
        raise LogLLMError(
            f"The mirror {mirror} has no {source.file_name}; it holds {held}. Put the archive "
            "there, or leave --mirror (LOGLLM_MIRROR) out to fetch it from its publisher."
        )
    found = _sha256_or_refuse(archive)
    wanted = _listed_checksum(mirror / CHECKSUMS, source.file_name)
    if wanted and found != wanted:
        raise LogLLMError(
            f"{archive} has the SHA-256 {found}, but {mirror / CHECKSUMS} says {wanted}. Copy the "
            "archive again."
        )

    if wanted is None:
        logger.warning("{} is not listed in a {}; nothing vouches for it", archive, CHECKSUMS)

    def build(out_dir: Path) -> dict[str, Json]:
        shutil.copyfile(archive, out_dir / archive.name)
        sums = _checksums(out_dir / archive.name)
        return {
            "origin": "mirror",
            "location": str(archive),
            "archive": archive.name,
            "size_bytes": sums.size_bytes,
            "sha256": sums.sha256,
            "md5": sums.md5,
            "is_listed_in_mirror": wanted is not None,
            "is_official_content": sums.md5 == source.md5 if source.md5 else None,
        }

    return store.reuse_or_build(
        "raw",
        name,
        config={"origin": "mirror", "archive": archive.name, "sha256": found},
        inputs={},
        version=VERSION,
        build=build,
    )


def _listed_checksum(sums_path: Path, file_name: str) -> str | None:
    if not sums_path.is_file():
        return None
    for line in sums_path.read_text(encoding="utf-8", errors="replace").splitlines():
        checksum, _, name = line.partition(" ")
        if Path(name.lstrip(" *")).name == file_name:
            return checksum.lower()
    return None


def _fetch(source: Archive, out_dir: Path) -> dict[str, Json]:
    path = out_dir / source.file_name
    try:
        _download(source.url, path)
    except httpx.HTTPError as fault:
        raise LogLLMError(
            f"{source.url} cannot be fetched: {fault or type(fault).__name__}. Try again later, or "
            "put the archive into a folder and give that with --mirror."
        ) from fault
    sums = _checksums(path)
    wanted = {"size_bytes": source.size_bytes, "md5": source.md5, "sha256": source.sha256}
    for kind, value in wanted.items():
        found = getattr(sums, kind)
        if value is not None and found != value:
            raise LogLLMError(
                f"{source.url} gave a file whose {kind} is {found}, but {value} was published. "
                "Try again; if it stays so, the publisher's file or the catalog has changed."
            )
    is_checked = bool(source.md5 or source.sha256)
    if not is_checked:
        logger.warning("{} has no published checksum; its SHA-256 is recorded", source.url)
    return {
        "origin": "official",
        "location": source.url,
        "archive": path.name,
        "size_bytes": sums.size_bytes,
        "sha256": sums.sha256,
        "md5": sums.md5,
        "is_checked": is_checked,
    }


@retry(
    retry=retry_if_exception_type(httpx.TransportError),
    stop=stop_after_attempt(4),
    wait=wait_exponential_jitter(initial=1, max=30),
    reraise=True,
)
def _download(url: str, path: Path) -> None:
    plain = {"Accept-Encoding": "identity"}  # the checksum is that of the bytes as they are
    with httpx.stream("GET", url, headers=plain, follow_redirects=True, timeout=60) as response:
        response.raise_for_status()
        total = int(response.headers.get("content-length", 0)) or None
        with path.open("wb") as file, track("Downloading", total=total, unit="bytes") as advance:
            for chunk in response.iter_raw(CHUNK_BYTES):
                file.write(chunk)
                advance(len(chunk))


def _checksums(path: Path) -> Checksums:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            md5.update(chunk)
            sha256.update(chunk)
    return Checksums(size_bytes=path.stat().st_size, md5=md5.hexdigest(), sha256=sha256.hexdigest())


@contextmanager
def open_log(dataset: Dataset, raw: Artifact) -> Iterator[BinaryIO]:
    """The bytes of the log, unpacked as they are read."""
    member = dataset.source.log_member if isinstance(dataset.source, Archive) else None
    with _open(raw, "log", member) as stream:
        yield stream


@contextmanager
def open_labels(dataset: Dataset, raw: Artifact) -> Iterator[BinaryIO]:
    """The bytes of the session label file."""
    member = dataset.source.label_member if isinstance(dataset.source, Archive) else None
    if member is None and not raw.results.get("labels"):
        raise LogLLMError(
            f"{dataset.name} is labelled by session, but no label file is named. Give "
            "source.label_path (or label_member of an archive) in its TOML file."
        )
    with _open(raw, "labels", member) as stream:
        yield stream


@contextmanager
def _open(raw: Artifact, role: str, member: str | None) -> Iterator[BinaryIO]:
    results = raw.results
    path = raw.path / str(results.get("archive") or results[role])
    damaged = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)
    try:
        with ExitStack() as stack:
            yield _open_member(path, member, stack)
    except damaged as fault:
        raise LogLLMError(
            f"{results.get('location', path)} is damaged or cut off: {fault}. It has "
            f"{path.stat().st_size:,} bytes. Fetch it again."
        ) from fault


def _open_member(path: Path, member: str | None, stack: ExitStack) -> BinaryIO:
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        if member not in archive.namelist():
            raise _no_member(path, member, archive.namelist())
        return cast(BinaryIO, stack.enter_context(archive.open(member)))
    if path.name.endswith(".tar.gz"):
        tar = stack.enter_context(tarfile.open(path, mode="r|gz"))  # noqa: SIM115
        names = []
        for entry in tar:
            names.append(entry.name)
            if entry.isfile() and entry.name.removeprefix("./") == member:
                return cast(BinaryIO, tar.extractfile(entry))
        raise _no_member(path, member, names)
    if path.suffix == ".gz":
        return cast(BinaryIO, stack.enter_context(gzip.open(path)))
    return stack.enter_context(path.open("rb"))


def _no_member(path: Path, member: str | None, names: list[str]) -> LogLLMError:
    held = ", ".join(names[:5]) or "nothing"
    return LogLLMError(f"{path} holds no {member}; it holds {held}. Is it the right archive?")
