"""One published archive over HTTP: continued after a cut, checked before anything reads it.

What has come so far outlives the program in a folder of its own, so that the next run asks for the
rest alone.
"""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from loguru import logger
from pydantic import TypeAdapter, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.sources import Archive
from logllm_core.logs.sources.checksums import Checksums, checksums_of, write_json
from logllm_core.logs.sources.partial_download import Announced, Partial, PassingError, announced
from logllm_core.progress import track
from logllm_core.store.disk import lock, put_in_place

DOWNLOADS = ".downloads"  # holds what has come in part
FIRST_DOWNLOADS = ".first-downloads.json"  # the checksums of what has none published
MAX_FRUITLESS_ATTEMPTS = 6
FRUITFUL_BYTES = 1 << 20  # an attempt that got so much further is none of those
MAX_WAIT_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 300.0  # whatever the server asks for
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _First:
    """What came at an address the first time."""

    size_bytes: int
    sha256: str
    date: str


@dataclass(kw_only=True, slots=True)
class _Patience:
    """How many attempts in a row have got no further."""

    num_fruitless: int = 0
    furthest_bytes: int

    def begin(self) -> None:
        self.num_fruitless += 1

    def got_to(self, num_bytes: int) -> None:
        if num_bytes >= self.furthest_bytes + FRUITFUL_BYTES:
            self.furthest_bytes = num_bytes
            self.num_fruitless = 0

    def wait_seconds(self, state: RetryCallState) -> float:
        fault = _fault(state)
        if isinstance(fault, PassingError) and fault.wait_seconds is not None:
            return min(fault.wait_seconds, MAX_RETRY_AFTER_SECONDS)
        longest = min(2.0**self.num_fruitless, MAX_WAIT_SECONDS)
        return random.uniform(longest / 2, longest)  # so that many clients do not return at once


def fetch(
    source: Archive, out_path: Path, *, folder: Path, sleep: Callable[[float], None] = time.sleep
) -> Checksums:
    """Fetch an archive to `out_path`, where it appears whole and checked or not at all.

    Args:
        folder: keeps, across runs, what has come in part and what came the first time; on the same
            file system as `out_path`.
        sleep: pauses between attempts, for seconds.

    Raises:
        LogLLMError: it cannot be had, does not fit on the disk, or is not what was published.
    """
    downloads = folder / DOWNLOADS
    downloads.mkdir(parents=True, exist_ok=True)
    with lock(downloads / f"{source.file_name}.lock"):
        partial = Partial(downloads / f"{source.file_name}.part", source.url)
        began = time.monotonic()
        _receive_all(source, partial, sleep)
        sums = checksums_of(partial.path)
        try:
            _compare_with_published(source, sums)
            _compare_with_first(source, sums, folder / FIRST_DOWNLOADS)
        except LogLLMError:
            partial.discard()
            raise
        put_in_place(partial.path, out_path)
        partial.discard()
    seconds = time.monotonic() - began
    logger.info("{}: fetched {:,} bytes in {:.0f} s", source.url, sums.size_bytes, seconds)
    return sums


def _receive_all(source: Archive, partial: Partial, sleep: Callable[[float], None]) -> None:
    """Attempt after attempt, until everything is here or none gets any further."""
    patience = _Patience(furthest_bytes=partial.num_bytes)

    def announce_pause(state: RetryCallState) -> None:
        fault = _fault(state)
        pause = state.next_action.sleep if state.next_action else 0
        logger.warning("{}: {}; going on in {:.0f} s", source.url, _said(fault), pause)

    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=lambda _: patience.num_fruitless >= MAX_FRUITLESS_ATTEMPTS,
        wait=patience.wait_seconds,
        sleep=sleep,
        before_sleep=announce_pause,
        reraise=True,
    )
    try:
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT_SECONDS) as client:
            retrying(_receive, client, source, partial, patience)
    except (PassingError, httpx.HTTPError) as fault:
        raise LogLLMError(
            f"{source.url} cannot be fetched: {_said(fault)}. {partial.num_bytes:,} bytes of it "
            "are kept. Try again later, or put the archive into a folder and give that with "
            "--mirror."
        ) from fault


def _receive(client: httpx.Client, source: Archive, partial: Partial, patience: _Patience) -> None:
    """One attempt: ask for what is missing and write it as it comes."""
    patience.begin()
    if partial.is_whole:
        return
    with client.stream("GET", source.url, headers=partial.request_headers()) as response:
        coming = announced(response, partial)
        if coming is None:
            return
        _check_announced(source, partial, coming)
        if coming.start:
            logger.info("{}: going on from byte {:,}", source.url, coming.start)
        else:
            partial.begin(coming)
        _write(source, partial, coming, response, patience)


def _check_announced(source: Archive, partial: Partial, coming: Announced) -> None:
    """Before the body is read: is it the right size, and does it fit on the disk?"""
    total = coming.total_bytes
    if source.size_bytes is not None and total not in (None, source.size_bytes):
        partial.discard()
        raise LogLLMError(
            f"{source.url} announces {total:,} bytes, but {source.size_bytes:,} were published. "
            "Nothing was fetched: the publisher's file or the catalog has changed."
        )
    size = total or source.size_bytes
    folder = partial.path.parent
    here = partial.path.stat().st_size if partial.path.exists() else 0
    if size is not None and size - here > (free := shutil.disk_usage(folder).free):
        more = "more " if here else ""
        raise LogLLMError(
            f"{source.file_name} needs {size - here:,} {more}bytes, but {free:,} are free in "
            f"{folder}: free some space or choose another folder with --data-dir."
        )


def _write(
    source: Archive,
    partial: Partial,
    coming: Announced,
    response: httpx.Response,
    patience: _Patience,
) -> None:
    total = coming.total_bytes or source.size_bytes
    come = coming.start
    with track(f"Downloading {source.file_name}", total=total, unit="bytes") as advance:
        advance(come)
        for num_bytes in partial.append(response.iter_raw()):
            come += num_bytes
            advance(num_bytes)
            patience.got_to(come)
            if total is not None and come > total:
                partial.discard()
                raise LogLLMError(
                    f"{source.url} sends more than the {total:,} bytes that were announced; what "
                    "came was deleted. Try again, or give a copy's folder with --mirror."
                )
    if coming.total_bytes is not None and come < coming.total_bytes:
        raise PassingError(f"ended after {come:,} of {coming.total_bytes:,} bytes")


def _may_pass(fault: BaseException) -> bool:
    if isinstance(fault, httpx.UnsupportedProtocol):
        return False
    return isinstance(fault, PassingError | httpx.TransportError)


def _fault(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _said(fault: BaseException | None) -> str:
    return str(fault) or type(fault).__name__


def _compare_with_published(source: Archive, sums: Checksums) -> None:
    wanted = {"size_bytes": source.size_bytes, "md5": source.md5, "sha256": source.sha256}
    for kind, value in wanted.items():
        came = getattr(sums, kind)
        if value is not None and came != value:
            raise LogLLMError(
                f"{source.url} gave a file whose {kind} is {came}, but {value} was published. It "
                "was deleted. Try again; if it stays so, the publisher's file or the catalog has "
                "changed."
            )


def _read_firsts(record_path: Path) -> dict[str, _First]:
    """What was downloaded first at each address."""
    if not record_path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, _First]).validate_json(record_path.read_bytes(), strict=True)
    except ValidationError:
        raise LogLLMError(
            f"{record_path}, which keeps the checksums of first downloads, is damaged. Mend it, or "
            "delete it if what comes next is to be trusted."
        ) from None


def _compare_with_first(source: Archive, sums: Checksums, record_path: Path) -> None:
    """Without a published checksum, the first download's is the measure of every later one."""
    if source.md5 or source.sha256:
        return
    record = _read_firsts(record_path)
    first = record.get(source.url)
    if first is None:
        today = datetime.now(UTC).date().isoformat()
        now = _First(size_bytes=sums.size_bytes, sha256=sums.sha256, date=today)
        firsts = {**record, source.url: now}
        write_json(record_path, {url: asdict(entry) for url, entry in firsts.items()})
        logger.warning(
            "{} has no published checksum; its SHA-256 is recorded in {}", source.url, record_path
        )
    elif (first.size_bytes, first.sha256) != (sums.size_bytes, sums.sha256):
        raise LogLLMError(
            f"{source.url} gave {sums.size_bytes:,} bytes with the SHA-256 {sums.sha256}, but the "
            f"first time ({first.date}) {first.size_bytes:,} bytes with {first.sha256}; "
            "no checksum is published to tell which is right. The new file was deleted. If it is "
            f"to be trusted, delete {record_path} and fetch it again."
        )
