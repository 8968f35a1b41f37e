import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from logllm_core.errors import LogLLMError
from logllm_core.store.intact_files import is_whole
from logllm_core.store.manifest import MANIFEST
from logllm_core.store.store import Artifact, Store
from tests.full_disk import no_file_beyond


class Builder:
    """Writes one file and counts how often it was asked to."""

    def __init__(self, content: str = "built") -> None:
        self.content = content
        self.num_builds = 0

    def __call__(self, out_dir: Path) -> Mapping[str, Any]:
        assert list(out_dir.iterdir()) == []
        self.num_builds += 1
        (out_dir / "deep").mkdir()
        (out_dir / "deep" / "table.txt").write_text(self.content)
        return {"num_lines": 3}


def obtain(
    store: Store,
    build: Callable[[Path], Mapping[str, Any]],
    *,
    config: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Artifact] | None = None,
    version: int = 1,
) -> Artifact:
    return store.reuse_or_build(
        "messages",
        "own",
        config={"length": 4} if config is None else config,
        inputs=inputs or {},
        version=version,
        build=build,
    )


def names_below(store: Store) -> list[str]:
    """Files below the store, without the locks."""
    return sorted(
        path.relative_to(store.data_dir).as_posix()
        for path in store.data_dir.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )


def test_what_is_there_is_reused(store: Store) -> None:
    build = Builder()
    first = obtain(store, build)
    assert obtain(store, build) == first
    assert build.num_builds == 1
    assert (first.path / "deep" / "table.txt").read_text() == "built"
    assert first.path == store.data_dir / "messages" / "own" / first.fingerprint


def test_the_order_of_the_settings_does_not_matter(store: Store) -> None:
    build = Builder()
    first = obtain(store, build, config={"a": 1, "b": {"c": 2, "d": 3}})
    assert obtain(store, build, config={"b": {"d": 3, "c": 2}, "a": 1}) == first
    assert build.num_builds == 1


def test_another_setting_input_or_version_is_built_anew(store: Store) -> None:
    build = Builder()
    artifact_ = obtain(store, build)
    raws = [
        store.reuse_or_build("raw", "own", config={"n": n}, inputs={}, version=1, build=Builder())
        for n in (1, 2)
    ]
    listed = [
        artifact_,
        obtain(store, build, config={"length": 5}),
        obtain(store, build, version=2),
        obtain(store, build, inputs={"raw": raws[0]}),
        obtain(store, build, inputs={"raw": raws[1]}),
        obtain(store, build, inputs={"other": raws[0]}),
    ]
    assert len({artifact.path for artifact in listed}) == build.num_builds == 6
    assert all(is_whole(artifact.path) for artifact in listed)  # side by side


def test_the_fingerprint_is_the_sha256_of_what_was_wanted(store: Store) -> None:
    wanted = '{"config": {"length": 4}, "inputs": {}, "version": 1}'
    assert obtain(store, Builder()).fingerprint == hashlib.sha256(wanted.encode()).hexdigest()[:16]


def test_the_manifest_tells_what_was_asked_for_and_what_came_out(store: Store) -> None:
    raw = store.reuse_or_build("raw", "own", config={}, inputs={}, version=7, build=Builder())
    artifact = obtain(store, Builder("caf\xe9"), inputs={"raw": raw}, version=2)
    manifest = artifact.manifest
    assert {key: manifest[key] for key in ("kind", "dataset", "config", "inputs", "version")} == {
        "kind": "messages",
        "dataset": "own",
        "config": {"length": 4},
        "inputs": {"raw": raw.fingerprint},
        "version": 2,
    }
    assert manifest["fingerprint"] == artifact.fingerprint
    assert artifact.results == manifest["results"] == {"num_lines": 3}
    assert manifest["files"] == [  # without the manifest itself
        {
            "name": "deep/table.txt",
            "size_bytes": 5,
            "sha256": hashlib.sha256(b"caf\xc3\xa9").hexdigest(),
        }
    ]
    assert manifest["seconds"] >= 0
    assert manifest["peak_memory_bytes"] > 1_000_000
    assert {"system", "processor", "num_cores", "python"} == set(manifest["machine"])
    assert {"logllm", "pyarrow", "torch"} <= set(manifest["versions"])


@pytest.mark.parametrize("fault", [LogLLMError("mine"), RuntimeError("ours"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing_and_may_be_tried_again(
    store: Store, fault: BaseException
) -> None:
    def fail(out_dir: Path) -> Mapping[str, Any]:
        (out_dir / "half").write_text("half")
        raise fault

    with pytest.raises(type(fault)):
        obtain(store, fail)
    assert names_below(store) == []
    assert store.newest("messages", "own") is None
    assert is_whole(obtain(store, Builder()).path)


def cut_off(path: Path) -> None:
    (path / "deep" / "table.txt").write_text("bui")


def lose(path: Path) -> None:
    (path / "deep" / "table.txt").unlink()


def lose_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def empty_manifest(path: Path) -> None:
    (path / MANIFEST).write_text("")


def cut_off_manifest(path: Path) -> None:
    (path / MANIFEST).write_text((path / MANIFEST).read_text()[:-9])


def garble_manifest(path: Path) -> None:
    (path / MANIFEST).write_bytes(b"\xff\xfe\x00garbage")


def exchange_manifest(path: Path) -> None:
    (path / MANIFEST).write_text('["something", "else"]')


@pytest.mark.parametrize(
    "damage",
    [
        cut_off,
        lose,
        lose_manifest,
        empty_manifest,
        cut_off_manifest,
        garble_manifest,
        exchange_manifest,
    ],
)
def test_a_damaged_artifact_is_built_anew(store: Store, damage: Callable[[Path], None]) -> None:
    build = Builder()
    artifact = obtain(store, build)
    (artifact.path / "stray").write_text("left over")
    damage(artifact.path)
    assert not is_whole(artifact.path)
    assert obtain(store, build) == artifact
    assert build.num_builds == 2
    assert is_whole(artifact.path)
    assert names_below(store) == [
        f"messages/own/{artifact.fingerprint}/{name}" for name in ("deep/table.txt", MANIFEST)
    ]


def test_the_newest_is_the_one_that_was_built_or_reused_last(store: Store) -> None:
    assert store.newest("messages", "own") is None
    first = obtain(store, Builder(), config={"length": 1})
    os.utime(first.path / MANIFEST, ns=(1, 1))
    second = obtain(store, Builder(), config={"length": 2})
    os.utime(second.path / MANIFEST, ns=(2, 2))
    assert store.newest("messages", "own") == second
    obtain(store, Builder(), config={"length": 1})
    assert store.newest("messages", "own") == first
    assert store.newest("windows", "own") is None
    assert store.newest("messages", "other") is None


def build_slowly(data_dir: Path, notes: Path, started: Any) -> None:
    """One of several processes that want the same; each build leaves a note."""

    def build(out_dir: Path) -> Mapping[str, Any]:
        (notes / str(os.getpid())).touch()
        time.sleep(0.5)
        (out_dir / "table.txt").write_text("built")
        return {}

    started.wait(timeout=30)
    store = Store(data_dir=data_dir)
    assert is_whole(obtain(store, build).path)


@pytest.mark.slow
def test_two_processes_that_want_the_same_build_it_once(store: Store, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Barrier(2)
    workers = [
        spawn.Process(target=build_slowly, args=(store.data_dir, notes, started)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(list(notes.iterdir())) == 1
    assert len(names_below(store)) == 2  # the table and the manifest


KILLED = """
import sys, time
from pathlib import Path
from logllm_core.store.store import Store

def build(out_dir):
    (out_dir / "half").write_text("half")
    print("building", flush=True)
    time.sleep(60)

Store(data_dir=Path(sys.argv[1])).reuse_or_build(
    "messages", "own", config={"length": 4}, inputs={}, version=1, build=build
)
"""


@pytest.mark.slow
def test_a_build_that_was_killed_is_begun_again(store: Store) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store.data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == "building\n"
        worker.send_signal(signal.SIGKILL)
        assert worker.wait(timeout=30) == -signal.SIGKILL
    assert any(name.endswith("/half") for name in names_below(store))
    assert store.newest("messages", "own") is None
    artifact = obtain(store, Builder())
    assert is_whole(artifact.path)
    assert names_below(store) == [
        f"messages/own/{artifact.fingerprint}/{name}" for name in ("deep/table.txt", MANIFEST)
    ]


@pytest.mark.parametrize("depth", ["", "below", "below/further"])
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path, depth: str) -> None:
    (tmp_path / "file").write_text("no folder")
    build = Builder()
    with pytest.raises(LogLLMError, match=r"Cannot write to .*choose another folder"):
        obtain(Store(data_dir=tmp_path / "file" / depth), build)
    assert build.num_builds == 0
    assert (tmp_path / "file").read_text() == "no folder"


def test_results_that_are_not_json_leave_nothing_behind(store: Store) -> None:
    with pytest.raises(TypeError):
        obtain(store, lambda _: {"path": Path("no JSON")})
    assert names_below(store) == []
    assert is_whole(obtain(store, Builder()).path)


def test_the_manifest_is_json_that_a_person_can_read(store: Store) -> None:
    text = (obtain(store, Builder(), config={"title": "caf\xe9"}).path / MANIFEST).read_text(
        "utf-8"
    )
    assert "caf\xe9" in text
    assert text.count("\n") > 10
    assert json.loads(text)["config"] == {"title": "caf\xe9"}


def find(store: Store, *, version: int = 1) -> Artifact | None:
    return store.find("messages", "own", config={"length": 4}, inputs={}, version=version)


def test_what_is_there_is_found_and_then_is_the_newest(store: Store) -> None:
    assert find(store) is None
    first = obtain(store, Builder())
    second = obtain(store, Builder(), version=2)
    for artifact, age in ((first, 1), (second, 2)):
        os.utime(artifact.path / MANIFEST, ns=(age, age))
    assert store.newest("messages", "own") == second
    assert find(store) == first
    assert store.newest("messages", "own") == first
    assert find(store, version=3) is None


def test_what_is_damaged_is_not_found(store: Store) -> None:
    cut_off(obtain(store, Builder()).path)
    assert find(store) is None


def with_duckdb(path: Path) -> None:
    with duckdb.connect() as connection:
        numbers = "select random() from range(50_000)"
        connection.execute(f"copy ({numbers}) to '{path}' (format parquet)")


def with_arrow(path: Path) -> None:
    pq.write_table(pa.table({"number": np.random.default_rng(0).random(50_000)}), path)


def with_safetensors(path: Path) -> None:
    save_file({"number": np.zeros(50_000)}, path)


def with_python(path: Path) -> None:
    path.write_bytes(bytes(400_000))


@pytest.mark.parametrize("write", [with_duckdb, with_arrow, with_safetensors, with_python])
def test_a_file_that_the_system_cuts_off_is_a_clear_error(
    store: Store, write: Callable[[Path], None]
) -> None:
    def build(out_dir: Path) -> Mapping[str, Any]:
        write(out_dir / "table")
        return {}

    with (
        no_file_beyond(100_000),
        pytest.raises(LogLLMError, match=r"Cannot write to .*File too large.* Free some space"),
    ):
        obtain(store, build)
    assert names_below(store) == []


# safetensors writes beside the file and renames, so it never meets /dev/full.
@pytest.mark.parametrize("write", [with_duckdb, with_arrow, with_python])
def test_a_full_disk_is_a_clear_error(store: Store, write: Callable[[Path], None]) -> None:
    def build(out_dir: Path) -> Mapping[str, Any]:
        (out_dir / "table").symlink_to("/dev/full")
        write(out_dir / "table")
        return {}

    with pytest.raises(LogLLMError, match=r"Cannot write to .*No space left on device.* Free some"):
        obtain(store, build)
    assert names_below(store) == []


def test_a_fault_of_ours_while_building_is_not_explained_away(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        obtain(store, lambda _: {"ratio": 1 // 0})


def test_a_file_that_keeps_its_size_and_not_its_content_is_built_anew(store: Store) -> None:
    build = Builder()
    artifact = obtain(store, build)
    (artifact.path / "deep" / "table.txt").write_text("Built")
    assert is_whole(artifact.path)
    assert obtain(store, build) == artifact
    assert build.num_builds == 2
    assert (artifact.path / "deep" / "table.txt").read_text() == "built"


def test_the_last_one_used_is_the_newest_though_the_clock_was_ahead(store: Store) -> None:
    first = obtain(store, Builder(), config={"length": 1})
    later = time.time() + 365 * 86_400
    os.utime(first.path / MANIFEST, (later, later))
    second = obtain(store, Builder(), config={"length": 2})
    assert store.newest("messages", "own") == second
    obtain(store, Builder(), config={"length": 1})
    assert store.newest("messages", "own") == first
