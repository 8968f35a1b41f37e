"""A file that has come in part: what is here, what its server said, and how to ask for the rest."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from logllm_core.errors import LogLLMError
from logllm_core.logs.sources.checksums import read_json, write_json

PASSING_STATUS = {408, 429}  # and all from 500 on
CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+|\*)")


class PassingError(Exception):
    """A fault that may be gone the next time."""

    def __init__(self, reason: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds  # as the server asks for


@dataclass(frozen=True, kw_only=True, slots=True)
class Announced:
    """What a server is about to send."""

    start: int  # of the file, 0-based
    total_bytes: int | None  # of the whole file
    version: str | None  # what If-Range may name


class Partial:
    """The bytes in `<name>.part` and, in `<name>.part.json`, what their server said of them."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url
        self._facts_path = path.with_name(f"{path.name}.json")

    @property
    def num_bytes(self) -> int:
        """How many can be kept: none without a version that tells whether the file is the same."""
        return self.path.stat().st_size if self.version and self.path.exists() else 0

    @property
    def total_bytes(self) -> int | None:
        total: int | None = self._facts().get("total_bytes")
        return total

    @property
    def is_whole(self) -> bool:
        return 0 < self.num_bytes == self.total_bytes

    @property
    def version(self) -> str | None:
        version: str | None = self._facts().get("version")
        return version

    def request_headers(self) -> dict[str, str]:
        plain = {"Accept-Encoding": "identity"}  # the checksum is that of the bytes as they are
        if not self.num_bytes or not self.version:
            return plain
        return plain | {"Range": f"bytes={self.num_bytes}-", "If-Range": self.version}

    def begin(self, coming: Announced) -> None:
        self.discard()
        facts = {"url": self.url, "version": coming.version, "total_bytes": coming.total_bytes}
        write_json(self._facts_path, facts)
        self.path.touch()

    def append(self, chunks: Iterator[bytes]) -> Iterator[int]:
        """Write the chunks as they come; the size of each, once it is written."""
        with self.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                file.flush()  # so that a killed program loses nothing
                yield len(chunk)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._facts_path.unlink(missing_ok=True)

    def _facts(self) -> dict[str, Any]:
        facts = read_json(self._facts_path)
        return facts if isinstance(facts, dict) and facts.get("url") == self.url else {}


def announced(response: httpx.Response, partial: Partial) -> Announced | None:
    """What is about to come; None where everything is here already.

    Raises:
        PassingError: the answer is of no use, but another may be. Parts that do not fit are gone.
        LogLLMError: the file is not to be had.
    """
    status, have = response.status_code, partial.num_bytes
    if status == httpx.codes.OK:
        length = response.headers.get("content-length")
        return Announced(
            start=0, total_bytes=int(length) if length else None, version=_version(response)
        )
    said = response.headers.get("content-range", "")
    if status == httpx.codes.PARTIAL_CONTENT:
        match = CONTENT_RANGE.fullmatch(said)
        total = int(match["total"]) if match and match["total"] != "*" else partial.total_bytes
        fits = match and int(match["start"]) == have and partial.total_bytes in (None, total)
        if fits and partial.version in (None, _version(response)):  # not all heed If-Range
            return Announced(start=have, total_bytes=total, version=_version(response))
    elif status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
        if said == f"bytes */{have}":
            return None
    elif status in PASSING_STATUS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise PassingError(_reason(response), wait_seconds=_retry_after(response))
    else:
        raise LogLLMError(
            f"{partial.url} cannot be fetched: {_reason(response)}. Mend the address in the data "
            "set's TOML file, or put the archive into a folder and give that with --mirror."
        )
    partial.discard()
    raise PassingError(f"asked for the bytes from {have:,} on, answered {status} {said!r}")


def _reason(response: httpx.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


def _version(response: httpx.Response) -> str | None:
    """A strong ETag, else the time of change: a weak ETag does not promise the same bytes."""
    etag: str = response.headers.get("etag", "")
    if etag.startswith('"'):
        return etag
    changed: str | None = response.headers.get("last-modified")
    return changed


def _retry_after(response: httpx.Response) -> float | None:
    """The pause that the server asks for, in seconds or until a date."""
    asked = response.headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, (until.astimezone(UTC) - datetime.now(UTC)).total_seconds())
