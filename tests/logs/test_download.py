import gzip
import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.logs import download
from logllm_core.logs.catalog import Dataset
from logllm_core.logs.download import obtain_log, open_log
from logllm_core.store import Artifact, Store
from tests.logs.samples import files_left, labelled_by_line, published

LOG = b"- 1117838570 link is up\nKERN 1117838571 link is down\n"


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return packed.getvalue()


def tarred(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def noise(num_bytes: int) -> bytes:
    """Content that does not compress, so that half of an archive is half of its content."""
    return hashlib.shake_256(b"noise").digest(num_bytes)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def archived(url: str, **source: Any) -> Dataset:
    values = {"kind": "archive", "url": url, "log_member": "own.log", **source}
    return labelled_by_line(Path("unused"), source=values)


def content_of(dataset: Dataset, raw: Artifact) -> bytes:
    with open_log(dataset, raw) as stream:
        return stream.read()


class Publisher:
    """A web server on this machine and what it was asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.num_cut_off = 0  # so many answers end in the middle
        self.is_compressing = False  # as servers do for browsers


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            content = told.files.get(self.path.partition("?")[0])
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            if told.is_compressing and "gzip" in self.headers.get("Accept-Encoding", ""):
                content = gzip.compress(content)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if told.num_cut_off:
                told.num_cut_off -= 1
                content = content[: len(content) // 2]
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        told = Publisher(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield told
        server.shutdown()
        thread.join()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are taken down instead of taken."""
    taken: list[float] = []
    retry: Any = download._download.retry
    monkeypatch.setattr(retry, "sleep", taken.append)
    return taken


def test_a_good_file_becomes_an_artifact_that_says_where_it_came_from(
    store: Store, publisher: Publisher
) -> None:
    packed = publisher.files["/own.zip"] = zipped(own_log=LOG)
    dataset = archived(
        f"{publisher.url}/own.zip",
        size_bytes=len(packed),
        md5=md5(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
    )
    raw = obtain_log(store, dataset, mirror=None)
    assert content_of(dataset, raw) == LOG
    assert raw.results == {
        "origin": "official",
        "location": f"{publisher.url}/own.zip",
        "archive": "own.zip",
        "size_bytes": len(packed),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "md5": md5(packed),
        "is_checked": True,
    }
    assert obtain_log(store, dataset, mirror=None) == raw
    assert publisher.asked == ["/own.zip"]


def test_a_file_without_a_published_checksum_is_kept_as_unchecked(
    store: Store, publisher: Publisher
) -> None:
    publisher.files["/own.gz"] = gzip.compress(LOG)
    dataset = archived(f"{publisher.url}/own.gz", log_member=None)
    raw = obtain_log(store, dataset, mirror=None)
    assert content_of(dataset, raw) == LOG
    assert raw.results["is_checked"] is False


@pytest.mark.parametrize(
    ("published_value", "message"),
    [
        ({"size_bytes": 7}, "whose size_bytes is [0-9]+, but 7 was published"),
        ({"md5": "0" * 32}, f"whose md5 is [0-9a-f]+, but {'0' * 32} was published"),
        ({"sha256": "0" * 64}, f"whose sha256 is [0-9a-f]+, but {'0' * 64} was published"),
    ],
)
def test_a_file_that_is_not_what_was_published_is_refused(
    store: Store, publisher: Publisher, published_value: dict[str, Any], message: str
) -> None:
    publisher.files["/own.zip"] = zipped(own_log=LOG)
    with pytest.raises(LogLLMError, match=message):
        obtain_log(store, archived(f"{publisher.url}/own.zip", **published_value), mirror=None)
    assert files_left(store) == []


def test_a_checksum_that_the_catalog_gains_later_is_checked(
    store: Store, publisher: Publisher
) -> None:
    publisher.files["/own.zip"] = zipped(own_log=LOG)
    obtain_log(store, archived(f"{publisher.url}/own.zip"), mirror=None)
    with pytest.raises(LogLLMError, match="was published"):
        obtain_log(store, archived(f"{publisher.url}/own.zip", sha256="0" * 64), mirror=None)


def test_a_file_that_is_not_there_is_an_error_at_once(
    store: Store, publisher: Publisher, waits: list[float]
) -> None:
    with pytest.raises(LogLLMError, match=r"/own.zip cannot be fetched: .*404"):
        obtain_log(store, archived(f"{publisher.url}/own.zip"), mirror=None)
    assert (publisher.asked, waits) == (["/own.zip"], [])
    assert files_left(store) == []


def test_a_refused_connection_is_tried_again_and_then_an_error(
    store: Store, waits: list[float]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # but nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/own.zip"
        with pytest.raises(LogLLMError, match=r"cannot be fetched: .*refused"):
            obtain_log(store, archived(url), mirror=None)
    assert len(waits) == 3
    assert files_left(store) == []


def test_a_transfer_that_breaks_off_is_begun_again(
    store: Store, publisher: Publisher, waits: list[float]
) -> None:
    packed = publisher.files["/own.zip"] = zipped(own_log=LOG)
    publisher.num_cut_off = 2
    dataset = archived(f"{publisher.url}/own.zip", md5=md5(packed))
    assert content_of(dataset, obtain_log(store, dataset, mirror=None)) == LOG
    assert (len(publisher.asked), len(waits)) == (3, 2)


def test_a_transfer_that_always_breaks_off_is_an_error(
    store: Store, publisher: Publisher, waits: list[float]
) -> None:
    publisher.files["/own.zip"] = zipped(own_log=LOG)
    publisher.num_cut_off = 99
    with pytest.raises(LogLLMError, match="cannot be fetched"):
        obtain_log(store, archived(f"{publisher.url}/own.zip"), mirror=None)
    assert len(publisher.asked) == 4
    assert files_left(store) == []


def test_a_server_that_compresses_what_it_sends_changes_nothing(
    store: Store, publisher: Publisher
) -> None:
    packed = publisher.files["/own.zip"] = zipped(own_log=LOG)
    publisher.is_compressing = True
    dataset = archived(f"{publisher.url}/own.zip", md5=md5(packed))
    assert content_of(dataset, obtain_log(store, dataset, mirror=None)) == LOG


def test_an_address_may_carry_a_query(store: Store, publisher: Publisher) -> None:
    publisher.files["/own.zip"] = zipped(own_log=LOG)
    dataset = archived(f"{publisher.url}/own.zip?download=1")
    assert content_of(dataset, obtain_log(store, dataset, mirror=None)) == LOG


@pytest.mark.parametrize("url", ["http://[", "https://host:port/own.zip"])
def test_an_address_that_is_none_is_a_clear_error(
    store: Store, waits: list[float], url: str
) -> None:
    with pytest.raises(LogLLMError):
        obtain_log(store, archived(url), mirror=None)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


OFFICIAL = "https://example.org/files/own.zip"  # never asked


def test_a_mirror_is_used_instead_of_the_network(store: Store, held: Path) -> None:
    packed = zipped(own_log=LOG)
    (held / "own.zip").write_bytes(packed)
    dataset = archived(OFFICIAL, md5="0" * 32)
    raw = obtain_log(store, dataset, mirror=held)
    assert content_of(dataset, raw) == LOG
    assert raw.results["origin"] == "mirror"
    assert raw.results["location"] == str(held / "own.zip")
    assert raw.results["is_listed_in_mirror"] is False
    assert raw.results["is_official_content"] is False
    (held / "own.zip").unlink()  # the store has its own
    assert content_of(dataset, raw) == LOG


@pytest.mark.parametrize("mark", ["  ", " *"])  # text and binary, as sha256sum writes them
def test_a_mirrors_list_of_checksums_is_believed(store: Store, held: Path, mark: str) -> None:
    packed = zipped(own_log=LOG)
    (held / "own.zip").write_bytes(packed)
    listed = hashlib.sha256(packed).hexdigest()
    (held / "SHA256SUMS").write_text(f"{'0' * 64}{mark}my-own.zip\n{listed}{mark}own.zip\n")
    results = obtain_log(store, archived(OFFICIAL, md5=md5(packed)), mirror=held).results
    assert results["is_listed_in_mirror"] is True
    assert results["is_official_content"] is True


def test_an_archive_that_differs_from_the_mirrors_list_is_refused(store: Store, held: Path) -> None:
    (held / "own.zip").write_bytes(zipped(own_log=LOG))
    (held / "SHA256SUMS").write_text(f"{'0' * 64}  own.zip\n")
    with pytest.raises(LogLLMError, match=f"has the SHA-256 [0-9a-f]+, but .* says {'0' * 64}"):
        obtain_log(store, archived(OFFICIAL), mirror=held)
    assert files_left(store) == []


def test_a_mirror_without_the_archive_is_an_error_that_tells_what_it_holds(
    store: Store, held: Path
) -> None:
    (held / "other.zip").write_bytes(b"")
    with pytest.raises(LogLLMError, match=r"has no own.zip; it holds other.zip"):
        obtain_log(store, archived(OFFICIAL), mirror=held)
    with pytest.raises(LogLLMError, match=r"has no own.zip; it holds nothing"):
        obtain_log(store, archived(OFFICIAL), mirror=held / "nowhere")
    assert files_left(store) == []


def test_an_archive_that_changes_in_the_mirror_is_taken_anew(store: Store, held: Path) -> None:
    dataset = archived(OFFICIAL)
    (held / "own.zip").write_bytes(zipped(own_log=LOG))
    first = obtain_log(store, dataset, mirror=held)
    (held / "own.zip").write_bytes(zipped(own_log=LOG * 2))
    second = obtain_log(store, dataset, mirror=held)
    assert first.fingerprint != second.fingerprint
    assert content_of(dataset, second) == LOG * 2


def halved(packed: bytes) -> bytes:
    return packed[: len(packed) // 2]


def with_a_wrong_byte(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("own.zip", lambda: halved(zipped(own_log=noise(100_000)))),
        ("own.zip", lambda: with_a_wrong_byte(zipped(own_log=noise(100_000)))),
        ("own.zip", lambda: b""),
        ("own.zip", lambda: b"<html>Not found</html>"),
        ("own.tar.gz", lambda: halved(tarred(own_log=noise(100_000)))),
        ("own.tar.gz", lambda: halved(tarred(other_log=noise(100_000), own_log=LOG))),
        ("own.tar.gz", lambda: b""),
        ("own.tar.gz", lambda: b"<html>Not found</html>"),
        ("own.gz", lambda: halved(gzip.compress(noise(100_000)))),
        ("own.gz", lambda: gzip.compress(LOG)[:-8]),
        ("own.gz", lambda: with_a_wrong_byte(gzip.compress(noise(100_000)))),
        ("own.gz", lambda: b"<html>Not found</html>"),
    ],
)
def test_a_damaged_archive_is_a_clear_error(
    store: Store, held: Path, name: str, pack: Callable[[], bytes]
) -> None:
    (held / name).write_bytes(pack())
    dataset = archived(f"https://example.org/{name}")
    raw = obtain_log(store, dataset, mirror=held)
    with pytest.raises(LogLLMError, match=rf"{name} is damaged or cut off"):
        content_of(dataset, raw)


@pytest.mark.parametrize(
    ("name", "packed"),
    [("own.zip", zipped(a_log=LOG, b_log=LOG)), ("own.tar.gz", tarred(a_log=LOG, b_log=LOG))],
)
def test_an_archive_without_the_log_is_an_error_that_tells_what_it_holds(
    store: Store, held: Path, name: str, packed: bytes
) -> None:
    (held / name).write_bytes(packed)
    dataset = archived(f"https://example.org/{name}")
    raw = obtain_log(store, dataset, mirror=held)
    with pytest.raises(LogLLMError, match=rf"{name} holds no own.log; it holds a.log, b.log"):
        content_of(dataset, raw)


def test_the_log_is_found_among_the_other_members_of_an_archive(store: Store, held: Path) -> None:
    (held / "own.tar.gz").write_bytes(tarred(a_log=b"other", **{"./own_log": LOG}))
    (held / "own.zip").write_bytes(zipped(a_log=b"other", own_log=LOG))
    for name in ("own.tar.gz", "own.zip"):
        dataset = archived(f"https://example.org/{name}")
        assert content_of(dataset, obtain_log(store, dataset, mirror=held)) == LOG


@pytest.mark.parametrize(
    ("name", "content"), [("own.log", LOG), ("own.gz", gzip.compress(LOG)), ("own", LOG)]
)
def test_a_log_of_the_users_own_stays_where_it_is(
    store: Store, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    dataset = labelled_by_line(tmp_path / name)
    raw = obtain_log(store, dataset, mirror=None)
    assert content_of(dataset, raw) == LOG
    assert raw.results["log"] == str(tmp_path / name)
    assert raw.results["sha256"] == hashlib.sha256(content).hexdigest()
    assert [path.name for path in files_left(store)] == ["manifest.json"]


def test_a_log_of_the_users_own_that_grew_is_another_artifact(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_bytes(LOG)
    first = obtain_log(store, labelled_by_line(log), mirror=None)
    log.write_bytes(LOG * 2)
    second = obtain_log(store, labelled_by_line(log), mirror=None)
    assert first.fingerprint != second.fingerprint
    assert second.results["size_bytes"] == 2 * len(LOG)


def test_a_log_of_the_users_own_that_is_not_there_is_an_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(LogLLMError, match=r"There is no file .*/own.log"):
        obtain_log(store, labelled_by_line(tmp_path / "own.log"), mirror=None)


@pytest.mark.parametrize("name", ["bgl", "hdfs", "thunderbird"])
def test_the_archives_of_the_mirror_are_listed_and_readable(
    store: Store, mirror: Path, name: str
) -> None:
    raw = obtain_log(store, published(name), mirror=mirror)
    assert raw.results["is_listed_in_mirror"] is True
    with open_log(published(name), raw) as stream:
        assert stream.read(2) == {"bgl": b"- ", "hdfs": b"08", "thunderbird": b"- "}[name]
