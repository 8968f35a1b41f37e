"""Checksums, and the small records that keep them."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logllm_core.logs.sources.files import open_bytes, stamp_of, unchanged
from logllm_core.progress import Advance, track
from logllm_core.store.disk import Stamp, replace_file, writable
from logllm_core.store.intact_files import CLOCK_TICK_NS

CHUNK_BYTES = 1 << 20
SAVE_INTERVAL_SECONDS = 5.0  # so that reading terabytes, once interrupted, need not begin anew


class ChecksumIndex:
    """SHA-256 of local files, remembered as long as size, time of change and inode stay.

    Two programs that write it at once lose an entry at worst, which costs reading a file again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def sha256_of(self, paths: Sequence[str]) -> dict[str, str]:
        """The checksum of each file, read only where the index does not know it.

        Raises:
            LogLLMError: a file cannot be read, or changes meanwhile.
        """
        known = self._entries()
        keys = {path: _key(stamp_of(path)) for path in paths}
        sums = {path: known[path][-1] for path in paths if known.get(path, [])[:-1] == keys[path]}
        new = {path: key for path, key in keys.items() if path not in sums}
        return sums | self._read(new) if new else sums

    def _read(self, keys: dict[str, list[int]]) -> dict[str, str]:
        sums: dict[str, str] = {}
        lasting: dict[str, list[int | str]] = {}
        saved = time.monotonic()
        total = sum(size_bytes for size_bytes, _, _ in keys.values())
        try:
            with track("Checking", total=total, unit="bytes") as advance:
                for path in keys:
                    began_ns = time.time_ns()
                    with unchanged(path) as stamp:
                        sums[path] = _sha256_of(path, advance)
                    key = _key(stamp)
                    if began_ns - key[1] > CLOCK_TICK_NS:
                        lasting[path] = [*key, sums[path]]
                    if time.monotonic() - saved > SAVE_INTERVAL_SECONDS:
                        self._save(lasting)
                        saved = time.monotonic()
        finally:
            self._save(lasting)
        return sums

    def _entries(self) -> dict[str, list[Any]]:
        entries = read_json(self.path)
        if not isinstance(entries, dict):
            return {}
        return {
            path: entry
            for path, entry in entries.items()
            if isinstance(entry, list) and len(entry) == 4 and isinstance(entry[-1], str)
        }

    def _save(self, lasting: dict[str, list[int | str]]) -> None:
        if lasting:
            with writable(self.path.parent):
                write_json(self.path, self._entries() | lasting)


def _key(stamp: object) -> list[int]:
    """In the order in which it always stood in the index."""
    assert isinstance(stamp, Stamp)  # of addresses nothing is read twice
    return [stamp.size_bytes, stamp.changed_ns, stamp.inode]


def _sha256_of(path: str, advance: Advance) -> str:
    digest = hashlib.sha256()
    with open_bytes(path) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """A small record; None where there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def write_json(path: Path, values: object) -> None:
    """Replace a small record whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(values, indent=1) + "\n").encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Checksums:
    size_bytes: int
    md5: str
    sha256: str


def checksums_of(path: Path) -> Checksums:
    """Both checksums that publishers give, in one reading."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size_bytes = path.stat().st_size
    with (
        path.open("rb", buffering=0) as file,
        track(f"Checking {path.name}", total=size_bytes, unit="bytes") as advance,
    ):
        while chunk := file.read(CHUNK_BYTES):
            md5.update(chunk)
            sha256.update(chunk)
            advance(len(chunk))
    return Checksums(size_bytes=size_bytes, md5=md5.hexdigest(), sha256=sha256.hexdigest())


def listed_checksum(sums_path: Path, file_name: str) -> str | None:
    """What a list that the program sha256sum wrote says of a file; None where it says nothing."""
    if not sums_path.is_file():
        return None
    for line in sums_path.read_text(encoding="utf-8", errors="replace").splitlines():
        checksum, _, name = line.partition(" ")
        if Path(name.lstrip(" *")).name == file_name:
            return checksum.lower()
    return None
