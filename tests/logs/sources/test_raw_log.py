import gzip
import hashlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, find_dataset
from logllm_core.logs.simulator import writing
from logllm_core.logs.sources import checksums
from logllm_core.logs.sources.raw_log import RawFile, label_file, log_files, obtain_log, open_file
from logllm_core.store.store import Artifact, Store
from tests.logs.publisher import Publisher, publishing

CATALOG = Path(__file__).parents[3] / "data" / "datasets"
LOG = b"- 1117838570 link is up\nKERN 1117838571 link is down\n"
LABELS = b"BlockId,Label\nblk_1,Normal\n"
YEARS_AGO = 1_117_838_570  # 2005-06-03


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def dataset_from(source: dict[str, Any], name: str = "own") -> Dataset:
    values = {
        "name": name,
        "title": "A log of our own",
        "source": source,
        "line": {"fields": ["label", "epoch", "content"]},
        "windows": {"kind": "count"},
    }
    return Dataset.parse(values, origin="a test's data set")


def local(*paths: Path | str, label_path: Path | str | None = None) -> Dataset:
    named = [str(path) for path in paths]
    return dataset_from(
        {
            "kind": "file",
            "path": named[0] if len(named) == 1 else named,
            "label_path": label_path and str(label_path),
        }
    )


def archived(url: str, **source: Any) -> Dataset:
    return dataset_from({"kind": "archive", "url": url, "log_member": "own.log", **source})


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return packed.getvalue()


def read(raw: Artifact, file: RawFile) -> bytes:
    with open_file(raw, file) as stream:
        return stream.read()


def content_of(raw: Artifact) -> bytes:
    return b"".join(read(raw, file) for file in log_files(raw))


def read_all(raw: Artifact) -> None:
    labels = label_file(raw)
    for file in [*log_files(raw), *([labels] if labels else [])]:
        read(raw, file)


def locations(raw: Artifact) -> list[str]:
    return [file.location for file in log_files(raw)]


def files_of(store: Store) -> set[str]:
    paths = [path for path in store.data_dir.rglob("*") if path.is_file()]
    return {path.name for path in paths if path.suffix != ".lock"}


def written_long_ago(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (YEARS_AGO, YEARS_AGO))
    return path


# Files of the user's own


@pytest.mark.parametrize(
    ("name", "content"), [("own.log", LOG), ("own.gz", gzip.compress(LOG, mtime=0)), ("own", LOG)]
)
def test_a_log_of_the_users_own_stays_where_it_is(
    store: Store, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    raw = obtain_log(store, local(tmp_path / name), mirror=None)
    assert log_files(raw) == [
        RawFile(
            location=str(tmp_path / name),
            member=None,
            size_bytes=len(content),
            checksum=f"sha256:{sha256(content)}",
        )
    ]
    assert label_file(raw) is None
    assert raw.results["origin"] == "file"
    assert (raw.results["num_files"], raw.results["size_bytes"]) == (1, len(content))
    assert content_of(raw) == LOG
    assert files_of(store) == {"manifest.json"}
    assert obtain_log(store, local(tmp_path / name), mirror=None) == raw


def test_a_file_of_labels_lies_beside_the_log(store: Store, tmp_path: Path) -> None:
    (tmp_path / "own.log").write_bytes(LOG)
    (tmp_path / "own.csv").write_bytes(LABELS)
    dataset = local(tmp_path / "own.log", label_path=tmp_path / "own.csv")
    raw = obtain_log(store, dataset, mirror=None)
    labels = label_file(raw)
    assert labels is not None
    assert labels.location == str(tmp_path / "own.csv")
    assert read(raw, labels) == LABELS
    assert locations(raw) == [str(tmp_path / "own.log")]

    (tmp_path / "own.csv").write_bytes(LABELS.replace(b"Normal", b"Anomaly"))
    assert obtain_log(store, dataset, mirror=None).fingerprint != raw.fingerprint


def test_a_glob_names_many_files_in_order_of_their_names(store: Store, tmp_path: Path) -> None:
    for name in ("b.log", "a/2.log", "a/10.log", "a/c/1.log", "a/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "folder.log").mkdir()
    raw = obtain_log(store, local(tmp_path / "**" / "*.log"), mirror=None)
    names = ["a/10.log", "a/2.log", "a/c/1.log", "b.log"]
    assert locations(raw) == [str(tmp_path / name) for name in names]
    assert content_of(raw) == "".join(names).encode()
    assert raw.results["num_files"] == 4


def test_several_paths_keep_the_order_in_which_they_are_named(store: Store, tmp_path: Path) -> None:
    for name in ("a.log", "b1.log", "b2.log"):
        (tmp_path / name).write_bytes(LOG)
    raw = obtain_log(store, local(tmp_path / "b*", tmp_path / "a.log"), mirror=None)
    assert [Path(path).name for path in locations(raw)] == ["b1.log", "b2.log", "a.log"]


def test_a_name_that_looks_like_a_glob_is_taken_as_it_stands(store: Store, tmp_path: Path) -> None:
    (tmp_path / "own[1].log").write_bytes(LOG)
    (tmp_path / "own1.log").write_bytes(b"another")
    raw = obtain_log(store, local(tmp_path / "own[1].log"), mirror=None)
    assert content_of(raw) == LOG


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["own.log"], r'There is no file .*/own\.log\. Mend "path"'),
        (["*.log"], r'No file matches .*/\*\.log\. Mend "path"'),
        (["logs"], r"/logs is a folder\. Write .*/logs/\* for its files"),
        (["a.txt", "a.txt"], r"/a\.txt is named twice"),
        (["*.txt", "a.txt"], r"/a\.txt is named twice"),
        (["a.txt", "link.txt"], r"/link\.txt is named as .*/a\.txt, too"),
    ],
)
def test_paths_that_name_no_file_or_one_twice_are_an_error(
    store: Store, tmp_path: Path, named: list[str], message: str
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "a.txt").write_bytes(LOG)
    if "link.txt" in named:
        (tmp_path / "link.txt").symlink_to("a.txt")
    with pytest.raises(LogLLMError, match=message):
        obtain_log(store, local(*(tmp_path / name for name in named)), mirror=None)
    assert files_of(store) == set()


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/proc/self/environ", "made up by the kernel"),
        ("/proc/kmsg", "made up by the kernel"),
        ("/proc/self/[e]nviron", "made up by the kernel"),
        ("file:///proc/self/environ", "made up by the kernel"),
        ("/dev/zero", "a pipe, a socket or a device"),
        ("{folder}/pipe", "a pipe, a socket or a device"),
        ("{folder}/link", "a pipe, a socket or a device"),
        ("file://{folder}/pipe", "a pipe, a socket or a device"),
    ],
)
def test_only_files_are_read_not_pipes_devices_or_what_the_kernel_makes_up(
    store: Store, tmp_path: Path, path: str, kind: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "x.log").write_text("a line\n")
    path = path.format(folder=tmp_path)
    for dataset in (local(path), local(tmp_path / "x.log", label_path=path)):
        with pytest.raises(LogLLMError, match=f"is {kind}, not a file. Write what comes from it"):
            read_all(obtain_log(store, dataset, mirror=None))


def test_names_that_cannot_be_written_down_are_an_error(store: Store, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.log")).write_bytes(LOG)
    with pytest.raises(LogLLMError, match=r"udcff\.log' is not UTF-8"):
        obtain_log(store, local(tmp_path / "*.log"), mirror=None)
    with pytest.raises(
        LogLLMError, match=r"^ftp://somebody@example.org carries a password"
    ) as said:
        obtain_log(store, local("ftp://somebody:secret@example.org/own.log"), mirror=None)
    assert "secret" not in str(said.value)
    assert files_of(store) == set()


def test_a_path_may_be_relative_to_the_current_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.log").write_bytes(LOG)
    monkeypatch.chdir(tmp_path)
    raw = obtain_log(store, local("*.log"), mirror=None)
    monkeypatch.chdir("/")
    assert locations(raw) == [str(tmp_path / "own.log")]
    assert content_of(raw) == LOG


def test_a_label_file_is_one(store: Store, tmp_path: Path) -> None:
    for name in ("own.log", "1.csv", "2.csv"):
        (tmp_path / name).write_bytes(LOG)
    dataset = local(tmp_path / "own.log", label_path=tmp_path / "*.csv")
    with pytest.raises(LogLLMError, match=r"\*\.csv names 2 files; one is wanted"):
        obtain_log(store, dataset, mirror=None)


def test_a_log_that_grew_is_another_artifact(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_bytes(LOG)
    first = obtain_log(store, local(log), mirror=None)
    log.write_bytes(LOG * 2)
    second = obtain_log(store, local(log), mirror=None)
    assert first.fingerprint != second.fingerprint
    assert content_of(second) == LOG * 2
    with pytest.raises(
        LogLLMError, match=r"own\.log has changed: it has 106 bytes, but 53 when .*\. Run again\."
    ):
        content_of(first)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def touch(path: Path) -> None:
    os.utime(path, (YEARS_AGO, YEARS_AGO))


def cut(path: Path) -> None:
    os.truncate(path, 6_000_000)


def read_and_change(raw: Artifact, change: Callable[[Path], None]) -> None:
    with open_file(raw, log_files(raw)[0]) as stream:
        stream.read(1)
        change(Path(log_files(raw)[0].location))
        stream.read()


@pytest.mark.parametrize(("change", "num_bytes"), [(grow, 54), (touch, 53)])
def test_a_log_that_is_written_while_it_is_read_is_refused(
    store: Store, tmp_path: Path, change: Callable[[Path], None], num_bytes: int
) -> None:
    (tmp_path / "own.log").write_bytes(LOG)
    raw = obtain_log(store, local(tmp_path / "own.log"), mirror=None)
    message = (
        rf"own\.log changed while it was read \(53 bytes before, {num_bytes} after\): run again"
    )
    with pytest.raises(LogLLMError, match=message):
        read_and_change(raw, change)


def test_a_change_explains_the_damage_that_it_does(store: Store, tmp_path: Path) -> None:
    (tmp_path / "own.gz").write_bytes(gzip.compress(os.urandom(8_000_000), 1))
    raw = obtain_log(store, local(tmp_path / "own.gz"), mirror=None)
    with pytest.raises(LogLLMError, match=r"own\.gz changed while it was read"):
        read_and_change(raw, cut)


# Checksums are remembered


@pytest.fixture
def num_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose content was read for a checksum."""
    names: list[str] = []
    real = checksums._sha256_of

    def count(path: str, advance: Any) -> str:
        names.append(Path(path).name)
        return real(path, advance)

    monkeypatch.setattr(checksums, "_sha256_of", count)
    return names


def test_a_file_is_read_once_for_its_checksum(
    store: Store, tmp_path: Path, num_read: list[str]
) -> None:
    log = written_long_ago(tmp_path / "a.log", LOG)
    first = obtain_log(store, local(log), mirror=None)
    assert obtain_log(store, local(log), mirror=None) == first
    assert num_read == ["a.log"]

    written_long_ago(tmp_path / "b.log", LOG)
    obtain_log(store, local(tmp_path / "*.log"), mirror=None)
    obtain_log(store, local(tmp_path / "*.log"), mirror=None)
    assert num_read == ["a.log", "b.log"]
    index = json.loads((store.data_dir / "raw" / ".checksums.json").read_text())
    stat = log.stat()
    assert index[str(log)] == [53, stat.st_mtime_ns, stat.st_ino, sha256(LOG)]
    assert set(index) == {str(log), str(tmp_path / "b.log")}


def test_a_file_of_another_size_time_or_inode_is_read_again(
    store: Store, tmp_path: Path, num_read: list[str]
) -> None:
    log = written_long_ago(tmp_path / "own.log", LOG)
    obtain_log(store, local(log), mirror=None)
    written_long_ago(log, LOG * 2)
    obtain_log(store, local(log), mirror=None)
    os.utime(log, (YEARS_AGO, YEARS_AGO + 1))
    obtain_log(store, local(log), mirror=None)
    written_long_ago(tmp_path / "new", LOG[::-1] * 2)
    os.utime(tmp_path / "new", (YEARS_AGO, YEARS_AGO + 1))
    (tmp_path / "new").replace(log)
    raw = obtain_log(store, local(log), mirror=None)
    assert num_read == ["own.log"] * 4
    assert log_files(raw)[0].checksum == f"sha256:{sha256(LOG[::-1] * 2)}"


def test_a_file_changed_this_very_moment_is_not_remembered(
    store: Store, tmp_path: Path, num_read: list[str]
) -> None:
    (tmp_path / "own.log").write_bytes(LOG)
    obtain_log(store, local(tmp_path / "own.log"), mirror=None)
    obtain_log(store, local(tmp_path / "own.log"), mirror=None)
    assert num_read == ["own.log"] * 2


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", '{"PATH": 7}', '{"PATH": []}', '{"PATH": [53, 1, 1]}', "\xff"),
        "[" * 100_000,
    ],
    ids=range(9),
)
def test_a_damaged_index_is_written_anew(
    store: Store, tmp_path: Path, num_read: list[str], content: str
) -> None:
    log = written_long_ago(tmp_path / "own.log", LOG)
    index = store.data_dir / "raw" / ".checksums.json"
    index.parent.mkdir(parents=True)
    index.write_text(content.replace("PATH", str(log)), encoding="latin-1")
    obtain_log(store, local(log), mirror=None)
    obtain_log(store, local(log), mirror=None)
    assert num_read == ["own.log"]
    assert list(json.loads(index.read_text())) == [str(log)]


def test_what_was_read_before_an_interruption_is_remembered(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_read: list[str]
) -> None:
    for name in ("a.log", "b.log"):
        written_long_ago(tmp_path / name, LOG)
    counting = checksums._sha256_of

    def interrupted(path: str, advance: Any) -> str:
        if path.endswith("b.log"):
            raise KeyboardInterrupt
        return counting(path, advance)

    with monkeypatch.context() as patch:
        patch.setattr(checksums, "_sha256_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            obtain_log(store, local(tmp_path / "*.log"), mirror=None)
    obtain_log(store, local(tmp_path / "*.log"), mirror=None)
    assert num_read == ["a.log", "b.log"]


# Addresses


@pytest.fixture
def memory() -> Iterator[str]:
    folder = f"memory://{uuid.uuid4().hex}"
    yield folder
    fs = fsspec.filesystem("memory")
    if fs.exists(folder):
        fs.rm(folder, recursive=True)


def put(address: str, content: bytes) -> str:
    with fsspec.open(address, "wb") as file:
        file.write(content)
    return address


def test_a_log_at_an_address_is_read_where_it_lies(
    store: Store, memory: str, num_read: list[str]
) -> None:
    put(f"{memory}/b.log", LOG)
    put(f"{memory}/a.log.gz", gzip.compress(LOG))
    put(f"{memory}/folder.log/c.log", LOG)
    put(f"{memory}/labels.csv", LABELS)
    dataset = local(f"{memory}/*.log*", label_path=f"{memory}/labels.csv")
    raw = obtain_log(store, dataset, mirror=None)
    assert [path.rpartition("/")[-1] for path in locations(raw)] == ["a.log.gz", "b.log"]
    assert all(path.startswith("memory://") for path in locations(raw))
    assert all(file.checksum.startswith("etag:") for file in log_files(raw))
    assert log_files(raw)[1].size_bytes == 53
    assert content_of(raw) == LOG * 2
    labels = label_file(raw)
    assert labels is not None
    assert read(raw, labels) == LABELS
    assert num_read == []
    assert obtain_log(store, dataset, mirror=None) == raw


def test_a_log_at_an_address_that_changed_is_refused(store: Store, memory: str) -> None:
    put(f"{memory}/own.log", LOG)
    raw = obtain_log(store, local(f"{memory}/own.log"), mirror=None)
    with (
        pytest.raises(LogLLMError, match=r"own\.log changed while it was read"),
        open_file(raw, log_files(raw)[0]),
    ):
        put(f"{memory}/own.log", LOG[::-1])
    with pytest.raises(LogLLMError, match=r"own\.log has changed: .* Run again"):
        content_of(raw)
    assert content_of(obtain_log(store, local(f"{memory}/own.log"), mirror=None)) == LOG[::-1]


def test_addresses_that_name_no_file_are_an_error(store: Store, memory: str) -> None:
    with pytest.raises(LogLLMError, match=r"No file matches memory://.*/\*\.log"):
        obtain_log(store, local(f"{memory}/*.log"), mirror=None)
    with pytest.raises(LogLLMError, match=r"There is no file memory://.*/own\.log"):
        obtain_log(store, local(f"{memory}/own.log"), mirror=None)


@pytest.mark.parametrize("address", ["http://[::1", "s3://[", "file://[x", "ftp://[::1/x"])
def test_what_is_no_address_is_one_clear_error(store: Store, address: str) -> None:
    with pytest.raises(LogLLMError, match=r"is no address: Invalid IPv6 URL\. Mend it"):
        obtain_log(store, local(address), mirror=None)


@pytest.mark.slow
def test_logs_in_an_object_store_are_read_where_they_lie(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        port = server._server.port
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        fs = fsspec.filesystem("s3")
        fs.mkdir("logs")
        fs.pipe({"logs/a.log": LOG, "logs/b.log.gz": gzip.compress(LOG), "logs/c.txt": b"no"})
        raw = obtain_log(store, local("s3://logs/*.log*"), mirror=None)
        assert locations(raw) == ["s3://logs/a.log", "s3://logs/b.log.gz"]
        md5 = hashlib.md5(LOG, usedforsecurity=False).hexdigest()
        assert log_files(raw)[0].checksum == f"etag:{md5}"  # what S3 calls the ETag
        assert content_of(raw) == LOG * 2

        another = fsspec.filesystem("s3", skip_instance_cache=True)  # as another program would
        another.pipe("logs/a.log", LOG[::-1])
        with pytest.raises(LogLLMError, match=r"s3://logs/a.log has changed"):
            content_of(raw)
        with pytest.raises(LogLLMError, match=r"There is no file s3://logs/none.log"):
            obtain_log(store, local("s3://logs/none.log"), mirror=None)
    finally:
        server.stop()
        fsspec.get_filesystem_class("s3").clear_instance_cache()


# Mirrors


@pytest.fixture
def held(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


OFFICIAL = "https://example.org/files/own.zip"  # never asked


def test_an_archive_of_a_mirror_is_used_where_it_lies(
    store: Store, held: Path, num_read: list[str]
) -> None:
    packed = zipped(own_log=LOG, own_csv=LABELS)
    written_long_ago(held / "own.zip", packed)
    dataset = archived(OFFICIAL, md5="0" * 32, label_member="own.csv")
    raw = obtain_log(store, dataset, mirror=held)
    archive = RawFile(
        location=str(held / "own.zip"),
        member="own.log",
        size_bytes=len(packed),
        checksum=f"sha256:{sha256(packed)}",
    )
    assert log_files(raw) == [archive]
    labels = label_file(raw)
    assert labels is not None
    assert (labels.location, labels.member) == (archive.location, "own.csv")
    assert content_of(raw) == LOG
    assert read(raw, labels) == LABELS
    assert {key: raw.results[key] for key in raw.results if "file" not in key} == {
        "origin": "mirror",
        "location": str(held / "own.zip"),
        "size_bytes": len(packed),
        "sha256": sha256(packed),
        "is_listed_in_mirror": False,
        "is_official_content": None,  # no SHA-256 is published to compare with
    }
    assert files_of(store) == {"manifest.json", ".checksums.json"}
    assert obtain_log(store, dataset, mirror=held) == raw
    assert num_read == ["own.zip"]


def test_a_mirror_may_be_named_from_the_current_folder(
    store: Store, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (held / "own.zip").write_bytes(zipped(own_log=LOG))
    monkeypatch.chdir(held.parent)
    raw = obtain_log(store, archived(OFFICIAL), mirror=Path("mirror"))
    monkeypatch.chdir("/")
    assert content_of(raw) == LOG


@pytest.mark.parametrize("mark", ["  ", " *"])  # text and binary, as sha256sum writes them
def test_a_mirrors_list_of_checksums_is_believed(store: Store, held: Path, mark: str) -> None:
    packed = zipped(own_log=LOG)
    (held / "own.zip").write_bytes(packed)
    listed = sha256(packed)
    (held / "SHA256SUMS").write_text(f"{'0' * 64}{mark}my-own.zip\n{listed}{mark}own.zip\n")
    results = obtain_log(store, archived(OFFICIAL, sha256=listed), mirror=held).results
    assert (results["is_listed_in_mirror"], results["is_official_content"]) == (True, True)
    results = obtain_log(store, archived(OFFICIAL, sha256="0" * 64), mirror=held).results
    assert (results["is_listed_in_mirror"], results["is_official_content"]) == (True, False)


def test_an_archive_that_differs_from_the_mirrors_list_is_refused(store: Store, held: Path) -> None:
    (held / "own.zip").write_bytes(zipped(own_log=LOG))
    (held / "SHA256SUMS").write_text(f"{'0' * 64}  own.zip\n")
    with pytest.raises(LogLLMError, match=f"has the SHA-256 [0-9a-f]+, but .* says {'0' * 64}"):
        obtain_log(store, archived(OFFICIAL), mirror=held)
    assert files_of(store) == set()


def test_a_mirror_whose_name_is_not_utf_8_is_an_error(store: Store, held: Path) -> None:
    (held / "own.zip").write_bytes(zipped(own_log=LOG))
    renamed = held.rename(held.parent / "held-\udcff")
    with pytest.raises(LogLLMError, match=r"is not UTF-8\. Rename the file"):
        obtain_log(store, archived(OFFICIAL), mirror=renamed)


def test_a_mirror_without_the_archive_is_an_error_that_tells_what_it_holds(
    store: Store, held: Path
) -> None:
    (held / "other.zip").write_bytes(b"")
    with pytest.raises(LogLLMError, match=r"has no own.zip; it holds other.zip"):
        obtain_log(store, archived(OFFICIAL), mirror=held)
    with pytest.raises(LogLLMError, match=r"has no own.zip; it holds nothing"):
        obtain_log(store, archived(OFFICIAL), mirror=held / "nowhere")
    assert files_of(store) == set()


def test_an_archive_that_changes_in_the_mirror_is_another_artifact(
    store: Store, held: Path
) -> None:
    (held / "own.zip").write_bytes(zipped(own_log=LOG))
    first = obtain_log(store, archived(OFFICIAL), mirror=held)
    (held / "own.zip").write_bytes(zipped(own_log=LOG * 9))
    second = obtain_log(store, archived(OFFICIAL), mirror=held)
    assert first.fingerprint != second.fingerprint
    assert content_of(second) == LOG * 9


@pytest.mark.parametrize("name", ["bgl", "hdfs", "thunderbird"])
def test_the_archives_of_the_mirror_are_listed_and_readable(
    store: Store, mirror: Path, name: str
) -> None:
    raw = obtain_log(store, find_dataset(name, [CATALOG]), mirror=mirror)
    assert raw.results["is_listed_in_mirror"] is True
    assert raw.results["is_official_content"] is False  # they are samples
    [log] = log_files(raw)
    with open_file(raw, log) as stream:
        assert stream.read(2) == {"bgl": b"- ", "hdfs": b"08", "thunderbird": b"- "}[name]
    labels = label_file(raw)
    assert (labels is not None) == (name == "hdfs")
    if labels is not None:
        assert read(raw, labels).startswith(b"BlockId,Label")


# Publishers


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as server:
        yield server


@pytest.mark.slow
def test_a_published_archive_becomes_part_of_the_artifact(
    store: Store, publisher: Publisher
) -> None:
    packed = publisher.files["/own.zip"] = zipped(own_log=LOG, own_csv=LABELS)
    md5 = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    url = f"{publisher.url}/own.zip?download=1"
    dataset = archived(url, md5=md5, size_bytes=len(packed), label_member="own.csv")
    raw = obtain_log(store, dataset, mirror=None)
    file = {
        "location": "own.zip",
        "member": "own.log",
        "size_bytes": len(packed),
        "checksum": f"sha256:{sha256(packed)}",
    }
    assert raw.results == {
        "origin": "official",
        "location": url,
        "log_files": [file],
        "label_file": {**file, "member": "own.csv"},
        "size_bytes": len(packed),
        "sha256": sha256(packed),
        "md5": md5,
        "is_checked": True,
    }
    assert content_of(raw) == LOG
    assert obtain_log(store, dataset, mirror=None) == raw
    assert publisher.num_requests == 1
    assert files_of(store) == {"manifest.json", "own.zip"}


@pytest.mark.slow
def test_a_published_log_without_a_checksum_is_kept_as_unchecked(
    store: Store, publisher: Publisher
) -> None:
    publisher.files["/own.gz"] = gzip.compress(LOG)
    dataset = archived(f"{publisher.url}/own.gz", log_member=None)
    raw = obtain_log(store, dataset, mirror=None)
    assert raw.results["is_checked"] is False
    assert content_of(raw) == LOG
    assert files_of(store) == {"manifest.json", "own.gz", ".first-downloads.json"}


@pytest.mark.slow
def test_a_checksum_that_the_catalog_gains_later_is_checked(
    store: Store, publisher: Publisher
) -> None:
    publisher.files["/own.zip"] = zipped(own_log=LOG)
    obtain_log(store, archived(f"{publisher.url}/own.zip"), mirror=None)
    with pytest.raises(LogLLMError, match="was published"):
        obtain_log(store, archived(f"{publisher.url}/own.zip", sha256="0" * 64), mirror=None)


@pytest.mark.slow
def test_what_had_come_survives_a_failed_build(
    store: Store, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = publisher.files["/own.zip"] = zipped(own_log=os.urandom(10_000))
    publisher.cuts = [4_000]
    publisher.refusals = []
    dataset = archived(f"{publisher.url}/own.zip")
    with monkeypatch.context() as patch:
        patch.setattr("logllm_core.logs.sources.download.MAX_FRUITLESS_ATTEMPTS", 1)
        with pytest.raises(LogLLMError, match=r"cannot be fetched: .* 4,000 bytes of it are kept"):
            obtain_log(store, dataset, mirror=None)
    assert files_of(store) == {"own.zip.part", "own.zip.part.json"}
    raw = obtain_log(store, dataset, mirror=None)
    assert publisher.ranges == [None, "bytes=4000-"]
    assert raw.results["sha256"] == sha256(packed)


# The simulator


@pytest.mark.parametrize("shape", ["bgl", "thunderbird", "hdfs"])
def test_a_simulated_log_is_part_of_the_artifact(
    store: Store, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    asked: dict[str, Any] = {}

    def write_log(path: Path, *, label_path: Path | None, **settings: Any) -> dict[str, int]:
        asked.update(settings)
        path.write_bytes(LOG)
        if label_path:
            label_path.write_bytes(LABELS)
        return {"num_lines": 2}

    monkeypatch.setattr(writing, "write_log", write_log)
    source = {"kind": "simulator", "num_lines": 1_000, "seed": 7, "shape": shape}
    raw = obtain_log(store, dataset_from(source), mirror=None)
    assert asked == {"num_lines": 1_000, "seed": 7, "shape": shape, "unstable_from_fraction": 0.8}
    assert log_files(raw) == [
        RawFile(
            location="simulated.log",
            member=None,
            size_bytes=53,
            checksum=f"sha256:{sha256(LOG)}",
        )
    ]
    assert (raw.results["origin"], raw.results["num_lines"]) == ("simulator", 2)
    assert content_of(raw) == LOG
    labels = label_file(raw)
    assert (labels is not None) == (shape == "hdfs")
    if labels is not None:
        assert (labels.location, read(raw, labels)) == ("labels.csv", LABELS)


# The catalog


def test_the_catalog_says_what_the_publishers_say() -> None:
    facts = {
        "hdfs": (186_645_559, "76a24b4d9a6164d543fb275f89773260", "HDFS.log"),
        "bgl": (57_489_019, "4452953c470f2d95fcb32d5f6e733f7a", "BGL.log"),
        "thunderbird": (2_016_100_298, "0891b048df2919dc78c99c4428686b44", "Thunderbird.log"),
        "liberty": (None, None, None),
        "spirit": (None, "ba6271c4f454bc21634b19c406d9769c", None),
    }
    slices = {"thunderbird": (160_000_000, 170_000_000), "liberty": (40_000_000, 45_000_000)}
    for name, (size_bytes, md5, member) in facts.items():
        dataset = find_dataset(name, [CATALOG])
        source = dataset.source
        assert source.kind == "archive"
        assert (source.size_bytes, source.md5, source.log_member) == (size_bytes, md5, member)
        assert dataset.line_slice == slices.get(name)
        assert dataset.licence
        assert dataset.citation
