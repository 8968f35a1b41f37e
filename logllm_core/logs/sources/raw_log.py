"""Raw logs: where a data set's files are, and with which checksums.

Whatever its origin (its publisher, a mirror, the simulator, files of the user's own), a raw log is
an artifact that names its files. They are read as streams from where they lie; only what is fetched
or simulated lies in the artifact's folder.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.catalog.sources import Archive, LocalFile, Simulator
from logllm_core.logs.simulator import writing
from logllm_core.logs.sources.addresses import AddressStamp, is_address
from logllm_core.logs.sources.archives import open_stream
from logllm_core.logs.sources.checksums import (
    ChecksumIndex,
    Checksums,
    checksums_of,
    listed_checksum,
)
from logllm_core.logs.sources.download import fetch
from logllm_core.logs.sources.files import check_name, find_files, stamp_of, unchanged
from logllm_core.store.store import Artifact, Json, Store

VERSION = 2  # raise when the results' shape changes
INDEX = ".checksums.json"  # below raw/
SUMS_NAME = "SHA256SUMS"  # of a mirror, as the program sha256sum writes it


@dataclass(frozen=True, kw_only=True, slots=True)
class RawFile:
    """One file of a raw log.

    Args:
        location: relative to the artifact's folder, an absolute path, or an fsspec address.
        member: the wanted file inside an archive.
        size_bytes: of the file as it lies there, packed or not.
        checksum: of the same bytes: `sha256:...`, or at an address `etag:...` as its store tells.
    """

    location: str
    member: str | None
    size_bytes: int
    checksum: str


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
        return _simulated_log(store, dataset.name, source)
    if isinstance(source, LocalFile):
        return _local_log(store, dataset.name, source)
    if mirror is not None:
        return _mirrored_log(store, dataset.name, source, mirror)
    return _official_log(store, dataset.name, source)


def log_files(raw: Artifact) -> list[RawFile]:
    """The files that, one after another, are the log."""
    return [RawFile(**file) for file in raw.results["log_files"]]


def label_file(raw: Artifact) -> RawFile | None:
    """The file of session labels, where the data set has one."""
    file = raw.results["label_file"]
    return file and RawFile(**file)


@contextmanager
def open_file(raw: Artifact, file: RawFile) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked as they are read.

    Raises:
        LogLLMError: it is missing or damaged, or, outside the store, is no longer what it was when
            the artifact was made, or changes before the end of the block.
    """
    if not is_address(file.location) and not Path(file.location).is_absolute():
        with open_stream(str(raw.path / file.location), file.member) as stream:
            yield stream
        return
    with unchanged(file.location) as stamp:
        is_other = isinstance(stamp, AddressStamp) and stamp.checksum != file.checksum
        if is_other or stamp.size_bytes != file.size_bytes:
            raise LogLLMError(
                f"{file.location} has changed: it has {stamp.size_bytes:,} bytes, but "
                f"{file.size_bytes:,} when its checksum was taken. Run again."
            )
        with open_stream(file.location, file.member) as stream:
            yield stream


def _obtained(
    store: Store, name: str, *, log: list[RawFile], labels: RawFile | None, **facts: Json
) -> Artifact:
    """An artifact whose files lie elsewhere: it pins what they hold."""
    files = {"log_files": [asdict(file) for file in log], "label_file": labels and asdict(labels)}
    return _built(store, name, {**facts, **files}, lambda _: {**facts, **files})


def _built(
    store: Store,
    name: str,
    config: dict[str, Json],
    build: Callable[[Path], dict[str, Json]],
) -> Artifact:
    return store.reuse_or_build("raw", name, config=config, inputs={}, version=VERSION, build=build)


def _simulated_log(store: Store, name: str, source: Simulator) -> Artifact:
    def build(out_dir: Path) -> dict[str, Json]:
        log_path = out_dir / "simulated.log"
        label_path = out_dir / "labels.csv" if source.shape == "hdfs" else None
        counts = writing.write_log(
            log_path,
            num_lines=source.num_lines,
            seed=source.seed,
            shape=source.shape,
            unstable_from_fraction=source.unstable_from_fraction,
            label_path=label_path,
        )
        return {
            "origin": "simulator",
            "log_files": [asdict(_inside(log_path.name, checksums_of(log_path)))],
            "label_file": label_path and asdict(_inside(label_path.name, checksums_of(label_path))),
            **counts,
        }

    settings = source.model_dump(mode="json")
    config = {"origin": "simulator", **settings, "writer": writing.VERSION}
    return _built(store, name, config, build)


def _local_log(store: Store, name: str, source: LocalFile) -> Artifact:
    paths = find_files(source.paths)
    labels = find_files([source.label_path]) if source.label_path else []
    if len(labels) > 1:
        raise LogLLMError(f"{source.label_path} names {len(labels):,} files; one is wanted.")
    sums = _index(store).sha256_of([path for path in paths + labels if not is_address(path)])
    files = [_outside(path, sums.get(path)) for path in paths + labels]
    log = files[: len(paths)]
    num_bytes = sum(file.size_bytes for file in log)
    logger.info("{}: {:,} files, {:,} bytes", name, len(log), num_bytes)
    return _obtained(
        store,
        name,
        log=log,
        labels=files[-1] if labels else None,
        origin="file",
        num_files=len(log),
        size_bytes=num_bytes,
    )


def _mirrored_log(store: Store, name: str, source: Archive, mirror: Path) -> Artifact:
    """The archive stays where it is, too."""
    archive = mirror.absolute() / source.file_name
    if not archive.is_file():
        held = ", ".join(sorted(p.name for p in mirror.glob("*"))) or "nothing"
        raise LogLLMError(
            f"The mirror {mirror} has no {source.file_name}; it holds {held}. Put the archive "
            "there, or leave --mirror (LOGLLM_MIRROR) out to fetch it from its publisher."
        )
    check_name(str(archive))
    sha256 = _index(store).sha256_of([str(archive)])[str(archive)]
    wanted = listed_checksum(mirror / SUMS_NAME, source.file_name)
    if wanted and sha256 != wanted:
        raise LogLLMError(
            f"{archive} has the SHA-256 {sha256}, but {mirror / SUMS_NAME} says {wanted}. Copy the "
            "archive again."
        )
    if wanted is None and sha256 != source.sha256:
        logger.warning("{} is not listed in a {}; nothing vouches for it", archive, SUMS_NAME)
    log, labels = _members(source, _outside(str(archive), sha256))
    return _obtained(
        store,
        name,
        log=[log],
        labels=labels,
        origin="mirror",
        location=str(archive),
        size_bytes=log.size_bytes,
        sha256=sha256,
        is_listed_in_mirror=wanted is not None,
        is_official_content=sha256 == source.sha256 if source.sha256 else None,
    )


def _official_log(store: Store, name: str, source: Archive) -> Artifact:
    def build(out_dir: Path) -> dict[str, Json]:
        sums = fetch(source, out_dir / source.file_name, folder=store.data_dir / "raw" / name)
        log, labels = _members(source, _inside(source.file_name, sums))
        return {
            "origin": "official",
            "location": source.url,
            "log_files": [asdict(log)],
            "label_file": labels and asdict(labels),
            "size_bytes": sums.size_bytes,
            "sha256": sums.sha256,
            "md5": sums.md5,
            "is_checked": bool(source.md5 or source.sha256),
        }

    settings = source.model_dump(mode="json", exclude_none=True)
    return _built(store, name, {"origin": "official", "source": settings}, build)


def _index(store: Store) -> ChecksumIndex:
    return ChecksumIndex(store.data_dir / "raw" / INDEX)


def _members(source: Archive, archive: RawFile) -> tuple[RawFile, RawFile | None]:
    """The log and the session labels of one archive."""
    labels = source.label_member and replace(archive, member=source.label_member)
    return replace(archive, member=source.log_member), labels or None


def _outside(location: str, sha256: str | None) -> RawFile:
    stamp = stamp_of(location)
    return RawFile(
        location=location,
        member=None,
        size_bytes=stamp.size_bytes,
        checksum=stamp.checksum if isinstance(stamp, AddressStamp) else f"sha256:{sha256}",
    )


def _inside(name: str, sums: Checksums) -> RawFile:
    checksum = f"sha256:{sums.sha256}"
    return RawFile(location=name, member=None, size_bytes=sums.size_bytes, checksum=checksum)
