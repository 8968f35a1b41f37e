import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from logllm_core import progress
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.sources import Archive
from logllm_core.logs.sources.checksums import Checksums
from logllm_core.logs.sources.download import DOWNLOADS, FIRST_DOWNLOADS, fetch
from tests.logs.publisher import Publisher, publishing

pytestmark = pytest.mark.slow  # each asks a server

CONTENT = bytes(range(256)) * 4  # 1,024 bytes
MD5 = "b2ea9f7fcea831a4a63b213f41a8855b"
SHA256 = "785b0751fc2c53dc14a4ce3d800e69ef9ce1009eb327ccf458afe09c242c26c9"


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as server:
        server.files["/own.gz"] = CONTENT
        yield server


class Target:
    """The folder of one data set, and the pauses that were asked for instead of made."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.waits: list[float] = []
        self.path = folder / "artifact" / "own.gz"
        self.path.parent.mkdir(parents=True)
        self.part = folder / DOWNLOADS / "own.gz.part"
        self.record = folder / FIRST_DOWNLOADS

    def fetch(self, **published: Any) -> Checksums:
        source = Archive(kind="archive", url=f"{self.url}/own.gz", **published)
        return fetch(source, self.path, folder=self.folder, sleep=self.waits.append)

    def files(self) -> set[str]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(p.relative_to(self.folder)) for p in paths if p.suffix != ".lock"}


@pytest.fixture
def target(tmp_path: Path, publisher: Publisher) -> Target:
    return Target(tmp_path / "raw", publisher.url)


def give_up_halfway(target: Target, publisher: Publisher, num_bytes: int = 500) -> None:
    """As if the program had ended when `num_bytes` had come."""
    publisher.cuts = [num_bytes]
    publisher.refusals = []

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    source = Archive(kind="archive", url=f"{target.url}/own.gz")
    with pytest.raises(KeyboardInterrupt):
        fetch(source, target.path, folder=target.folder, sleep=stop)
    assert target.part.stat().st_size == num_bytes
    publisher.ranges.clear()


def test_a_whole_file_appears_with_its_checksums(target: Target, publisher: Publisher) -> None:
    sums = target.fetch(size_bytes=1024, md5=MD5, sha256=SHA256)
    assert sums == Checksums(size_bytes=1024, md5=MD5, sha256=SHA256)
    assert target.path.read_bytes() == CONTENT
    assert target.files() == {"artifact/own.gz"}
    assert publisher.ranges == [None]


def test_a_cut_transfer_goes_on_where_it_was_cut(target: Target, publisher: Publisher) -> None:
    publisher.cuts = [300, 400]
    target.fetch(md5=MD5)
    assert publisher.ranges == [None, "bytes=300-", "bytes=700-"]
    assert target.path.read_bytes() == CONTENT
    assert len(target.waits) == 2


def test_the_next_run_goes_on_where_the_last_ended(target: Target, publisher: Publisher) -> None:
    give_up_halfway(target, publisher)
    target.fetch(md5=MD5)
    assert publisher.ranges == ["bytes=500-"]
    assert target.path.read_bytes() == CONTENT


KILLED = """
import sys
from pathlib import Path
from logllm_core.logs.catalog.sources import Archive
from logllm_core.logs.sources.download import fetch
folder = Path(sys.argv[1])
fetch(Archive(kind="archive", url=sys.argv[2]), folder / "artifact" / "own.gz", folder=folder)
"""


def test_a_killed_program_loses_nothing_that_had_come(target: Target, publisher: Publisher) -> None:
    publisher.pause_after = 600
    command = [sys.executable, "-c", KILLED, str(target.folder), f"{target.url}/own.gz"]
    with subprocess.Popen(command) as program:
        until = time.monotonic() + 30
        while not (target.part.exists() and target.part.stat().st_size == 600):
            assert time.monotonic() < until
            assert program.poll() is None
            time.sleep(0.01)
        program.kill()
        assert program.wait() == -signal.SIGKILL
    publisher.resume.set()
    target.fetch(md5=MD5)
    assert publisher.ranges == [None, "bytes=600-"]
    assert target.path.read_bytes() == CONTENT


def test_a_program_killed_after_the_last_byte_asks_for_none(
    target: Target, publisher: Publisher
) -> None:
    give_up_halfway(target, publisher)
    target.part.write_bytes(CONTENT)
    target.fetch(md5=MD5)
    assert publisher.ranges == []
    assert target.path.read_bytes() == CONTENT


def test_a_server_that_never_told_the_length_says_that_all_is_here(
    target: Target, publisher: Publisher
) -> None:
    give_up_halfway(target, publisher)
    facts_path = target.part.with_name("own.gz.part.json")
    facts = json.loads(facts_path.read_text())
    facts_path.write_text(json.dumps(facts | {"total_bytes": None}))
    target.part.write_bytes(CONTENT)
    target.fetch(md5=MD5)
    assert publisher.ranges == ["bytes=1024-"]  # answered with 416 and */1024
    assert target.path.read_bytes() == CONTENT


def test_a_file_that_changed_since_starts_anew(target: Target, publisher: Publisher) -> None:
    give_up_halfway(target, publisher)
    publisher.files["/own.gz"] = CONTENT[::-1]
    target.fetch()
    assert publisher.ranges == ["bytes=500-"]  # its If-Range named the old ETag
    assert target.path.read_bytes() == CONTENT[::-1]


def test_the_time_of_change_stands_in_for_an_etag(target: Target, publisher: Publisher) -> None:
    publisher.has_etag = False
    publisher.headers = {"Last-Modified": "Fri, 03 Jun 2005 22:42:50 GMT"}
    give_up_halfway(target, publisher)
    facts = json.loads(target.part.with_name("own.gz.part.json").read_text())
    assert facts["version"] == "Fri, 03 Jun 2005 22:42:50 GMT"


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}])
def test_a_file_without_a_strong_version_starts_anew(
    target: Target, publisher: Publisher, headers: dict[str, str]
) -> None:
    publisher.has_etag = False
    publisher.headers = headers
    give_up_halfway(target, publisher)
    target.fetch(md5=MD5)
    assert publisher.ranges == [None]
    assert target.path.read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_gone_on_with(
    target: Target, publisher: Publisher
) -> None:
    give_up_halfway(target, publisher)
    publisher.files["/moved/own.gz"] = CONTENT
    target.url += "/moved"
    target.fetch(md5=MD5)
    assert publisher.ranges == [None]


def test_a_damaged_record_of_a_part_starts_anew(target: Target, publisher: Publisher) -> None:
    give_up_halfway(target, publisher)
    target.part.with_name("own.gz.part.json").write_text('{"url": ')
    target.fetch(md5=MD5)
    assert publisher.ranges == [None]


def test_a_server_that_ignores_ranges_starts_from_the_beginning(
    target: Target, publisher: Publisher
) -> None:
    give_up_halfway(target, publisher)
    publisher.knows_ranges = False
    target.fetch(md5=MD5)
    assert publisher.ranges == ["bytes=500-"]
    assert target.path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "refusal",
    [
        (416, {}),
        (416, {"Content-Range": "bytes */400"}),
        (206, {"Content-Range": "bytes 499-1023/1024"}),
        (206, {"Content-Range": "bytes 500-1023/1025"}),
        (206, {"Content-Range": "lines 500-1023/1024"}),
        (206, {"Content-Range": "bytes 500-1023/1024", "ETag": '"changed"'}),
        (206, {}),
    ],
)
def test_a_range_that_does_not_fit_starts_anew(
    target: Target, publisher: Publisher, refusal: tuple[int, dict[str, str]]
) -> None:
    give_up_halfway(target, publisher)
    publisher.refusals = [refusal]
    target.fetch(md5=MD5)
    assert publisher.ranges == ["bytes=500-", None]
    assert target.path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(target: Target, publisher: Publisher, status: int) -> None:
    publisher.refusals = [(status, {})]
    target.fetch(md5=MD5)
    assert publisher.num_requests == 2
    assert 1 <= target.waits[0] <= 2


@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("86400", 300), ("0", 0)])
def test_a_server_says_how_long_to_wait_within_limits(
    target: Target, publisher: Publisher, asked: str, waited: float
) -> None:
    publisher.refusals = [(503, {"Retry-After": asked})]
    target.fetch(md5=MD5)
    assert target.waits == [waited]


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True), 28, 30),
        (lambda: "Fri, 03 Jun 2005 22:42:50 GMT", 0, 0),
        (lambda: "soon", 1, 2),
        (lambda: "-5", 1, 2),
    ],
)
def test_a_server_may_name_the_time_to_wait_for(
    target: Target, publisher: Publisher, asked: Callable[[], str], least: float, most: float
) -> None:
    publisher.refusals = [(429, {"Retry-After": asked()})]
    target.fetch(md5=MD5)
    assert least <= target.waits[0] <= most


def test_pauses_grow_and_end(target: Target, publisher: Publisher) -> None:
    publisher.refusals = [(503, {})] * 99
    with pytest.raises(LogLLMError, match=r"/own.gz cannot be fetched: 503 Service Unavailable\."):
        target.fetch(md5=MD5)
    assert publisher.num_requests == 6
    for pause, longest in zip(target.waits, [2, 4, 8, 16, 32], strict=True):
        assert longest / 2 <= pause <= longest


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_not_to_be_had_is_an_error_at_once(
    target: Target, publisher: Publisher, status: int
) -> None:
    publisher.refusals = [(status, {})]
    with pytest.raises(LogLLMError, match=rf"/own.gz cannot be fetched: {status} .*--mirror"):
        target.fetch()
    assert (publisher.num_requests, target.waits) == (1, [])
    assert target.files() == set()


def test_a_refused_connection_is_tried_again_and_then_an_error(target: Target) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # but nobody listens
        target.url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(LogLLMError, match=r"cannot be fetched: .*refused"):
            target.fetch()
    assert len(target.waits) == 5


def test_a_redirection_to_another_kind_of_address_is_an_error_at_once(
    target: Target, publisher: Publisher
) -> None:
    publisher.refusals = [(302, {"Location": "ftp://127.0.0.1/own.gz"})]
    with pytest.raises(LogLLMError, match="cannot be fetched"):
        target.fetch()
    assert target.waits == []


def test_a_redirection_is_followed(target: Target, publisher: Publisher) -> None:
    publisher.refusals = [(302, {"Location": "/elsewhere"})]
    publisher.files["/elsewhere"] = CONTENT
    del publisher.files["/own.gz"]
    target.fetch(md5=MD5)
    assert target.path.read_bytes() == CONTENT


def test_what_is_always_cut_at_the_same_place_is_an_error_in_the_end(
    target: Target, publisher: Publisher
) -> None:
    publisher.knows_ranges = False
    publisher.cuts = [600] * 99
    with pytest.raises(LogLLMError, match=r"cannot be fetched: .* 600 bytes of it are kept\."):
        target.fetch()
    assert publisher.num_requests == 6
    assert not target.path.exists()


def test_attempts_that_get_further_are_not_counted(target: Target, publisher: Publisher) -> None:
    content = publisher.files["/own.gz"] = CONTENT * 10_000  # 10,240,000 bytes
    publisher.cuts = [1_100_000] * 9  # nine times a megabyte, and then the rest
    target.fetch(size_bytes=10_240_000)
    assert publisher.num_requests == 10
    assert target.path.read_bytes() == content
    assert max(target.waits) <= 1


def test_an_announced_size_other_than_the_published_is_refused_unread(
    target: Target, publisher: Publisher
) -> None:
    publisher.pause_after = 0  # the body would never come
    with pytest.raises(LogLLMError, match="announces 1,024 bytes, but 7 were published"):
        target.fetch(size_bytes=7)
    assert target.files() == set()


def test_a_range_of_a_file_of_another_size_is_refused(target: Target, publisher: Publisher) -> None:
    give_up_halfway(target, publisher)
    with pytest.raises(LogLLMError, match="announces 1,024 bytes, but 1,025 were published"):
        target.fetch(size_bytes=1025)
    assert target.files() == set()


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ({"size_bytes": 1025}, "whose size_bytes is 1024, but 1025 was published"),
        ({"size_bytes": 1000}, "sends more than the 1,000 bytes"),
        ({"md5": "0" * 32}, f"whose md5 is {MD5}, but {'0' * 32} was published"),
        ({"sha256": "0" * 64}, f"whose sha256 is {SHA256}, but {'0' * 64} was published"),
    ],
)
def test_a_file_that_is_not_what_was_published_is_refused_and_deleted(
    target: Target, publisher: Publisher, published: dict[str, Any], message: str
) -> None:
    publisher.has_length = False  # so that only the body tells
    with pytest.raises(LogLLMError, match=message):
        target.fetch(**published)
    assert target.files() == set()


def test_a_file_of_unannounced_length_is_fetched(target: Target, publisher: Publisher) -> None:
    publisher.has_length = False
    target.fetch(md5=MD5)
    assert target.path.read_bytes() == CONTENT


def test_a_server_that_compresses_what_it_sends_changes_nothing(
    target: Target, publisher: Publisher
) -> None:
    publisher.is_compressing = True
    target.fetch(size_bytes=1024, md5=MD5)
    assert target.path.read_bytes() == CONTENT


def free(num_bytes: int) -> Callable[[Path], Any]:
    usage = type(shutil.disk_usage("/"))(10**9, 10**9 - num_bytes, num_bytes)
    return lambda _: usage


def test_a_full_disk_is_told_before_the_body_is_read(
    target: Target, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", free(1000))
    publisher.pause_after = 0
    with pytest.raises(
        LogLLMError, match=r"^own\.gz needs 1,024 bytes, but 1,000 are free in .*--data-dir\.$"
    ):
        target.fetch()
    assert target.files() == set()


def test_what_is_here_already_needs_no_more_space(
    target: Target, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up_halfway(target, publisher)
    monkeypatch.setattr(shutil, "disk_usage", free(523))
    with pytest.raises(LogLLMError, match="needs 524 more bytes, but 523 are free"):
        target.fetch()
    monkeypatch.setattr(shutil, "disk_usage", free(524))
    target.fetch(md5=MD5)
    assert publisher.ranges == ["bytes=500-"] * 2


class Shown:
    """A display that takes down what it is told."""

    def __init__(self) -> None:
        self.tracked: list[tuple[str, int | None, list[int]]] = []

    @contextmanager
    def track(
        self, description: str, total: int | None, unit: str
    ) -> Iterator[Callable[[int], None]]:
        assert unit == "bytes"
        amounts: list[int] = []
        self.tracked.append((description, total, amounts))
        yield amounts.append


def test_progress_begins_at_the_place_gone_on_from(target: Target, publisher: Publisher) -> None:
    give_up_halfway(target, publisher)
    shown = Shown()
    token = progress.display.set(shown)
    try:
        target.fetch(md5=MD5)
    finally:
        progress.display.reset(token)
    (description, total, amounts), checking = shown.tracked
    assert (description, total) == ("Downloading own.gz", 1024)
    assert (amounts[0], sum(amounts)) == (500, 1024)
    assert checking[1] == sum(checking[2]) == 1024


def test_the_first_download_is_the_measure_where_no_checksum_is_published(
    target: Target, publisher: Publisher
) -> None:
    target.fetch()
    target.path.unlink()
    record = json.loads(target.record.read_text())
    assert record[f"{target.url}/own.gz"]["sha256"] == SHA256
    assert record[f"{target.url}/own.gz"]["size_bytes"] == 1024
    target.fetch()
    target.path.unlink()

    publisher.files["/own.gz"] = b"other"
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(
        LogLLMError,
        match=f"5 bytes with the SHA-256 {other}, .* 1,024 bytes with {SHA256}; .* delete .*"
        f"{FIRST_DOWNLOADS} and fetch it again",
    ):
        target.fetch()
    assert target.files() == {FIRST_DOWNLOADS}

    target.record.unlink()
    assert target.fetch().sha256 == other


def test_a_published_checksum_needs_no_record(target: Target) -> None:
    target.fetch(sha256=SHA256)
    assert not target.record.exists()


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", "null", "3", "[" * 100_000),
        *('{"URL": null}', '{"URL": 3}', '{"URL": {}}', '{"URL": {"size_bytes": 1}}'),
    ],
    ids=range(9),
)
def test_a_damaged_record_of_first_downloads_is_not_passed_over(
    target: Target, content: str
) -> None:
    target.record.write_text(content)
    with pytest.raises(LogLLMError, match=rf"{FIRST_DOWNLOADS}, which .* is damaged"):
        target.fetch()
    assert target.record.read_text() == content
