import hashlib
import importlib
import multiprocessing
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from loguru import logger

from logllm_core import progress
from logllm_core.errors import LogLLMError
from logllm_core.store.intact_files import is_whole
from logllm_core.store.manifest import MANIFEST, ForeignManifest
from logllm_core.store.sealed_json import seal, unseal
from logllm_core.store.store import Artifact, Kind, Store
from tests.full_disk import no_file_beyond

SHARED = "memory://shared/logs"
FILES = {"deep/table.txt": b"built", "vectors": bytes(70_000)}


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def said() -> list[str]:
    """What is logged."""
    lines: list[str] = []
    logger.add(lambda line: lines.append(line.strip()), format="{level} {message}")
    return lines


class Builder:
    """Writes two files and counts how often it was asked to."""

    def __init__(self, files: Mapping[str, bytes] = FILES) -> None:
        self.files = files
        self.num_builds = 0

    def __call__(self, out_dir: Path) -> Mapping[str, Any]:
        self.num_builds += 1
        for name, content in self.files.items():
            (out_dir / name).parent.mkdir(exist_ok=True)
            (out_dir / name).write_bytes(content)
        return {"num_lines": 3}


WANTED: dict[str, Any] = {"config": {"length": 4, "parts": (1, 2)}, "inputs": {}, "version": 1}


def obtain(
    store: Store, build: Callable[[Path], Mapping[str, Any]], kind: Kind = "messages"
) -> Artifact:
    return store.reuse_or_build(kind, "own", **WANTED, build=build)


def never(_: Path) -> Mapping[str, Any]:
    raise AssertionError("built, where it should not be")


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Store]:
    """Stores with data folders of their own and one remote."""
    return lambda name, remote=SHARED: Store(data_dir=tmp_path / name, remote=remote)


Machine = Callable[..., Store]


def content_of(artifact: Artifact) -> dict[str, bytes]:
    return {
        path.relative_to(artifact.path).as_posix(): path.read_bytes()
        for path in artifact.path.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def objects() -> dict[str, bytes]:
    """What the remote holds, below the artifacts' folders."""
    fs = fsspec.filesystem("memory")
    found = fs.find("/shared") if fs.exists("/shared") else []
    return {name.split("/", maxsplit=6)[-1]: fs.cat_file(name) for name in found}


def manifests() -> list[str]:
    return [name for name in objects() if name == MANIFEST]


@pytest.mark.parametrize("kind", ["messages", "parts"])
def test_what_one_machine_built_another_fetches(
    machine: Machine, kind: Kind, said: list[str]
) -> None:
    built = obtain(machine("one"), Builder(), kind)
    fetched = obtain(machine("two"), never, kind)
    assert fetched.path != built.path
    assert fetched.fingerprint == built.fingerprint
    assert content_of(fetched) == FILES
    assert is_whole(fetched.path)
    manifest = fetched.manifest
    assert len(manifest.pop("upload")) == 32
    assert manifest == built.manifest
    assert machine("two").newest(kind, "own") == fetched
    place = f"{kind}/own/{built.fingerprint}"
    assert said == [
        f"INFO {place}: pushed 70,005 bytes to {SHARED}",
        f"INFO {place}: fetched 70,005 bytes from {SHARED}",
    ]


def test_the_files_lie_below_an_upload_that_the_manifest_names(machine: Machine) -> None:
    built = obtain(machine("one"), Builder())
    upload = unseal(objects()[MANIFEST])["upload"]
    assert set(objects()) == {MANIFEST, f"{upload}/deep/table.txt", f"{upload}/vectors"}
    assert fsspec.filesystem("memory").exists(
        f"/shared/logs/messages/own/{built.fingerprint}/{MANIFEST}"
    )


def test_a_folder_that_machines_share_is_a_remote_too(machine: Machine, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/not/yet there"
    obtain(machine("one", address), Builder())
    assert content_of(obtain(machine("two", address), never)) == FILES


def test_what_was_built_before_there_was_a_remote_is_pushed_once(machine: Machine) -> None:
    obtain(machine("one", None), Builder())
    assert objects() == {}
    obtain(machine("one"), never)
    found = objects()
    assert len(found) == 3
    obtain(machine("one"), never)
    assert objects() == found
    assert content_of(obtain(machine("two"), never)) == FILES


def test_reuse_asks_the_remote_for_one_small_object_only(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    obtain(machine("one"), Builder())
    asked: list[str] = []
    read = MemoryFileSystem.cat_file

    def cat_file(self: Any, path: str, **kwargs: Any) -> Any:
        asked.append(path)
        return read(self, path, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    for name in ("get_file", "put_file", "pipe_file", "ls", "find", "info"):
        monkeypatch.setattr(MemoryFileSystem, name, None, raising=False)
    artifact = obtain(machine("one"), never)
    assert asked == [f"/shared/logs/messages/own/{artifact.fingerprint}/{MANIFEST}"]


def test_find_fetches_and_never_builds(machine: Machine) -> None:
    two = machine("two")
    assert two.find("messages", "own", **WANTED) is None
    obtain(machine("one"), Builder())
    found = two.find("messages", "own", **WANTED)
    assert found
    assert content_of(found) == FILES
    assert two.newest("messages", "own") == found
    assert two.find("messages", "own", **WANTED | {"version": 2}) is None


# A push that is cut off.


def fail_at(monkeypatch: pytest.MonkeyPatch, method: str, num_calls: int) -> None:
    """The network fails at one call and works again afterwards."""
    original = getattr(MemoryFileSystem, method)
    calls = iter(range(num_calls + 1))

    def fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        if next(calls, None) == num_calls:
            raise ConnectionError("the line is dead")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, method, fail)


@pytest.mark.parametrize(("method", "num_calls"), [("put_file", 1), ("pipe_file", 0)])
def test_a_push_that_is_cut_off_leaves_nothing_and_is_made_good(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, method: str, num_calls: int
) -> None:
    fail_at(monkeypatch, method, num_calls)
    with pytest.raises(
        LogLLMError,
        match=r"/one/messages/own/\w+ is kept, but not pushed to memory://shared/logs; "
        r"the same command tries again: the line is dead\. Check the address and the network",
    ):
        obtain(machine("one"), Builder())
    assert objects()  # one file at least
    assert manifests() == []
    assert machine("two").find("messages", "own", **WANTED) is None
    obtain(machine("one"), never)
    assert content_of(obtain(machine("two"), never)) == FILES


def test_a_fetch_that_is_cut_off_leaves_nothing_and_is_made_good(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    obtain(machine("one"), Builder())
    fail_at(monkeypatch, "get_file", 1)
    with pytest.raises(LogLLMError, match=r"Cannot fetch messages/own/\w+ from .* line is dead"):
        obtain(machine("two"), never)
    assert [path.suffix for path in (tmp_path / "two").rglob("*") if path.is_file()] == [".lock"]
    assert content_of(obtain(machine("two"), never)) == FILES


KILLED = """
import sys, time
from pathlib import Path
from fsspec.implementations.local import LocalFileSystem
from logllm_core.store.store import Store

def build(out_dir):
    (out_dir / "table").write_text("built")
    return {}

def wait(*_, **__):
    print("files pushed", flush=True)
    time.sleep(60)

LocalFileSystem.pipe_file = wait  # between the files and the manifest
Store(data_dir=Path(sys.argv[1]), remote=sys.argv[2]).reuse_or_build(
    "messages", "own", config={}, inputs={}, version=1, build=build
)
"""


@pytest.mark.slow
def test_a_push_that_was_killed_leaves_nothing_and_is_made_good(
    machine: Machine, tmp_path: Path
) -> None:
    address = f"file://{tmp_path}/shared"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "one"), address],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == "files pushed\n"
        worker.send_signal(signal.SIGKILL)
        assert worker.wait(timeout=30) == -signal.SIGKILL
    wanted: dict[str, Any] = {"config": {}, "inputs": {}, "version": 1}
    assert [path.name for path in (tmp_path / "shared").rglob("*") if path.is_file()] == ["table"]
    assert machine("two", address).find("messages", "own", **wanted) is None
    first = machine("one", address).reuse_or_build("messages", "own", **wanted, build=never)
    two = machine("two", address).reuse_or_build("messages", "own", **wanted, build=never)
    assert content_of(first) == content_of(two) == {"table": b"built"}


# A copy that is damaged, or hostile.


def change(name: str, content: bytes | None) -> Callable[[str, dict[str, Any]], None]:
    """Damage that replaces or removes one file of the upload."""

    def damage(place: str, manifest: dict[str, Any]) -> None:
        fs = fsspec.filesystem("memory")
        path = f"{place}/{manifest['upload']}/{name}"
        if content is None:
            fs.rm_file(path)
        else:
            fs.pipe_file(path, content)

    return damage


def rewrite(**changes: Any) -> Callable[[str, dict[str, Any]], None]:
    """Damage that replaces entries of the manifest."""

    def damage(place: str, manifest: dict[str, Any]) -> None:
        content = seal(manifest | changes)
        fsspec.filesystem("memory").pipe_file(f"{place}/{MANIFEST}", content)

    return damage


def cut_off_manifest(place: str, manifest: dict[str, Any]) -> None:
    content = seal(manifest)[:-9]
    fsspec.filesystem("memory").pipe_file(f"{place}/{MANIFEST}", content)


def garble_manifest(place: str, _: dict[str, Any]) -> None:
    fsspec.filesystem("memory").pipe_file(f"{place}/{MANIFEST}", b"\xff\xfe\x00garbage")


def listed(name: str, content: bytes) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"name": name, "size_bytes": len(content), "sha256": sha256}


DAMAGES = {
    "a file cut off": (change("vectors", b"cut"), "files are not those"),
    "a file changed": (change("deep/table.txt", b"bxilt"), "files are not those"),
    "a file lost": (change("vectors", None), "vectors is missing"),
    "the manifest cut off": (cut_off_manifest, "its manifest: it is not JSON"),
    "the manifest garbled": (garble_manifest, "its manifest: it is not JSON"),
    "no upload": (rewrite(upload=None), "its manifest: Input should be a valid string"),
    "an upload elsewhere": (
        rewrite(upload=f"{'0' * 32}/../.."),
        "its manifest: String should match",
    ),
    "no list of files": (rewrite(files={}), "its manifest: Input should be a valid "),
    "fewer files": (rewrite(files=[listed("vectors", b"")]), "files are not those"),
    "another artifact": (rewrite(version=2), "its manifest tells of another artifact"),
    "another data set": (rewrite(dataset="other"), "its manifest tells of another artifact"),
    "a file outside": (
        rewrite(files=[listed("../../../../evil", b"evil")]),
        "the file name '../../../../evil' is not allowed",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_copy_is_refused_and_replaced(
    machine: Machine, name: str, said: list[str], tmp_path: Path
) -> None:
    damage, reason = DAMAGES[name]
    artifact = obtain(machine("one"), Builder())
    damage(f"/shared/logs/messages/own/{artifact.fingerprint}", artifact_manifest())
    assert machine("two").find("messages", "own", **WANTED) is None
    assert [reason in line for line in said if line.startswith("WARNING")] == [True]
    assert not list(tmp_path.rglob("evil"))

    build = Builder()
    two = obtain(machine("two"), build)
    assert build.num_builds == 1
    assert content_of(two) == FILES
    assert content_of(obtain(machine("three"), never)) == FILES


def artifact_manifest() -> dict[str, Any]:
    return unseal(objects()[MANIFEST])


def test_a_machine_with_a_whole_artifact_replaces_a_manifest_that_is_cut_off(
    machine: Machine,
) -> None:
    artifact = obtain(machine("one"), Builder())
    cut_off_manifest(f"/shared/logs/messages/own/{artifact.fingerprint}", artifact_manifest())
    obtain(machine("one"), never)
    assert content_of(obtain(machine("two"), never)) == FILES


@pytest.mark.parametrize(
    "names",
    [
        ["../evil"],
        ["deep/../../evil"],
        ["/etc/evil"],
        ["//evil"],
        ["./evil"],
        ["deep//evil"],
        ["deep/"],
        ["."],
        [".."],
        [""],
        ["e\0vil"],
        [MANIFEST],
        ["deep", "deep/evil"],
        ["evil", "evil"],
    ],
)
def test_a_name_that_is_no_plain_path_inside_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"is not allowed|named twice"):
        ForeignManifest.model_validate(
            {"upload": "0" * 32, "files": [listed(name, b"") for name in names]}
        )


def test_plain_names_are_allowed() -> None:
    names = ["split=train/part-0.parquet", "BGL..zip", ".hidden/~x", f"deep/{MANIFEST}", "caf\xe9"]
    ForeignManifest.model_validate(
        {"upload": "0" * 32, "files": [listed(name, b"") for name in names]}
    )


# Two at once.


def test_two_machines_that_push_the_same_at_once_do_not_mix_their_files(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet = threading.Barrier(2, timeout=30)
    put_file = MemoryFileSystem.put_file

    def in_step(self: Any, *args: Any, **kwargs: Any) -> None:
        meet.wait()  # the first files of both, then the second files of both
        put_file(self, *args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "put_file", in_step)
    faults: list[BaseException] = []

    def work(name: str) -> None:
        content = name.encode()
        try:
            obtain(machine(name), Builder({"first": content, "second": content}))
        except BaseException as fault:  # a thread's own would be lost
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert faults == []
    assert len(objects()) == 5  # two uploads of two files, one manifest
    fetched = content_of(obtain(machine("three"), never))
    assert fetched["first"] == fetched["second"]
    assert fetched["first"] in (b"one", b"two")


def fetch_at_once(data_dir: Path, address: str, started: Any) -> None:
    started.wait(timeout=30)
    assert content_of(obtain(Store(data_dir=data_dir, remote=address), never)) == FILES


@pytest.mark.slow
def test_two_processes_of_one_machine_may_fetch_the_same_at_once(
    machine: Machine, tmp_path: Path
) -> None:
    address = f"file://{tmp_path}/shared"
    obtain(machine("one", address), Builder())
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Barrier(2)
    workers = [
        spawn.Process(target=fetch_at_once, args=(tmp_path / "two", address, started))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert [worker.exitcode for worker in workers] == [0, 0]


# Progress and errors.


class Recorder:
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[int | None, list[int]]] = {}

    @contextmanager
    def track(self, description: str, total: int | None, unit: str) -> Iterator[progress.Advance]:
        assert unit == "bytes"
        amounts: list[int] = []
        self.told[description.split("/")[0]] = (total, amounts)
        yield amounts.append


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_the_bytes_of_a_transfer_are_counted(
    machine: Machine, tmp_path: Path, protocol: str
) -> None:
    recorder = Recorder()
    token = progress.display.set(recorder)
    try:
        obtain(machine("one", f"{protocol}://{tmp_path}/shared"), Builder())
        obtain(machine("two", f"{protocol}://{tmp_path}/shared"), never)
    finally:
        progress.display.reset(token)
    assert {
        description: (total, sum(amounts))
        for description, (total, amounts) in recorder.told.items()
    } == {"Pushing messages": (70_005, 70_005), "Fetching messages": (70_005, 70_005)}


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("s3:/bucket/logs", r"s3:/bucket/logs names no remote\. Write s3://bucket/folder"),
        ("share/logs", r"share/logs names no remote"),
        ("s3://", r"s3:// names no remote"),
        ("file:///", r"file:/// names no remote"),
        ("nope://bucket", r"Cannot open nope://bucket: Protocol not known: nope\."),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_built(
    machine: Machine, address: str, error: str
) -> None:
    with pytest.raises(LogLLMError, match=error):
        obtain(machine("one", address), never)


@pytest.mark.parametrize(
    ("protocol", "package", "error"),
    [
        ("s3", "s3fs", r"s3://bucket needs .* missing: pip install -e '\.\[s3\]' -c constraints"),
        ("gs", "gcsfs", r"gs://bucket needs .* missing: Please install gcsfs .*\."),
    ],
)
def test_a_package_that_is_missing_is_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, protocol: str, package: str, error: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    known = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(known, protocol, raising=False)  # what an earlier test has imported
    with pytest.raises(LogLLMError, match=error):
        obtain(machine("one", f"{protocol}://bucket"), never)


def test_a_password_in_the_address_is_not_shown(machine: Machine) -> None:
    with pytest.raises(LogLLMError, match="Cannot open nope://host/logs") as raised:
        obtain(machine("one", "nope://me:secret@host/logs"), never)
    assert "secret" not in str(raised.value)


def test_a_disk_that_is_full_while_fetching_is_not_blamed_on_the_remote(machine: Machine) -> None:
    obtain(machine("one"), Builder())
    with (
        no_file_beyond(50_000),
        pytest.raises(LogLLMError, match=r"^Cannot write to .*File too large"),
    ):
        obtain(machine("two"), never)


# A real S3 server.


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # takes a second

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The server's file system, with one empty bucket; botocore reads the environment itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    fs_class = fsspec.get_filesystem_class("s3")
    fs_class.clear_instance_cache()
    fs = fs_class(skip_instance_cache=True)
    fs.mkdir("shared")
    yield fs
    fs.rm("shared", recursive=True)
    fs_class.clear_instance_cache()


@pytest.mark.slow
def test_machines_share_a_bucket(machine: Machine, s3: Any) -> None:
    built = obtain(machine("one", "s3://shared/logs"), Builder())
    fetched = obtain(machine("two", "s3://shared/logs/"), never)
    assert content_of(fetched) == FILES
    assert fetched.fingerprint == built.fingerprint
    place = f"shared/logs/messages/own/{built.fingerprint}"
    upload = fetched.manifest["upload"]
    assert sorted(s3.find("shared")) == sorted(
        f"{place}/{name}" for name in (MANIFEST, f"{upload}/deep/table.txt", f"{upload}/vectors")
    )
    assert obtain(machine("one", "s3://shared/logs"), never) == built
    assert len(s3.find("shared", refresh=True)) == 3


@pytest.mark.slow
def test_a_damaged_copy_in_a_bucket_is_refused_and_replaced(machine: Machine, s3: Any) -> None:
    obtain(machine("one", "s3://shared"), Builder())
    (path,) = (name for name in s3.find("shared") if name.endswith("table.txt"))
    s3.pipe_file(path, b"bxilt")
    assert machine("two", "s3://shared").find("messages", "own", **WANTED) is None
    build = Builder()
    obtain(machine("two", "s3://shared"), build)
    assert build.num_builds == 1
    assert content_of(obtain(machine("three", "s3://shared"), never)) == FILES


@pytest.mark.usefixtures("s3")
@pytest.mark.slow
def test_a_bucket_that_is_missing_is_a_clear_error_before_anything_is_built(
    machine: Machine,
) -> None:
    with pytest.raises(
        LogLLMError,
        match=r"Cannot read s3://typo/logs: The specified bucket does not exist\. Create the bucke",
    ):
        obtain(machine("one", "s3://typo/logs"), never)


@pytest.mark.usefixtures("s3")
@pytest.mark.slow
def test_credentials_that_are_missing_are_a_clear_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(LogLLMError, match=r"Unable to locate credentials\. Give credentials; for"):
        obtain(machine("one", "s3://shared"), never)


@pytest.mark.usefixtures("s3")
@pytest.mark.slow
def test_a_server_that_does_not_answer_is_a_clear_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(LogLLMError, match=r"Could not connect .* Check the address and the netw"):
        obtain(machine("one", "s3://shared"), never)
