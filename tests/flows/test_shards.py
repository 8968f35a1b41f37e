import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.data_settings import RunnerName
from flows.prepare import prepare_logs
from flows.settings import RunSettings
from flows.shards import into_shards
from logllm_core import tables
from logllm_core.logs.simulator.writing import write_log
from logllm_core.logs.sources.raw_log import RawFile
from logllm_core.pipeline import Prepared
from logllm_core.store.intact_files import sha256_of

DATASET = """
title = "A log of many files"

[source]
kind = "file"
path = "{path}"

[line]
fields = [
    "label", "epoch", "date", "node", "full_time", "node_repeated", "type", "component", "level",
    "content",
]
time_fields = ["epoch"]
time_format = "epoch"

[labels]
kind = "field"

[windows]
kind = "count"
length = 20
"""


def raw_file(number: int, size_bytes: int) -> RawFile:
    return RawFile(
        location=f"/log/{number}", member=None, size_bytes=size_bytes, checksum=f"sha256:{number}"
    )


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=30), st.integers(1, 40))
def test_each_file_is_in_one_shard_and_no_shard_is_empty(sizes: list[int], num: int) -> None:
    files = [raw_file(number, size) for number, size in enumerate(sizes)]
    shards = into_shards(files, num)
    assert sorted(file.location for shard in shards for file in shard) == sorted(
        file.location for file in files
    )
    assert len(shards) == min(num, len(files))
    assert all(shards)


def test_shards_are_of_about_the_same_size() -> None:
    shards = into_shards([raw_file(i, size) for i, size in enumerate((70, 10, 40, 30, 20))], 2)
    # 70 | 40, then 30 and 20 to the smaller share each time: 70 + 20, 40 + 30 (+ 10 behind both).
    assert [sum(file.size_bytes for file in shard) for shard in shards] == [90, 80]


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Four days of a simulated log, one of them packed."""
    folder = tmp_path / "days"
    folder.mkdir()
    write_log(folder / "whole.log", num_lines=4_000, seed=5)
    lines = (folder / "whole.log").read_bytes().splitlines(keepends=True)
    (folder / "whole.log").unlink()
    for day, start in enumerate(range(0, 4_000, 1_000)):
        (folder / f"day-{day}.log").write_bytes(b"".join(lines[start : start + 1_000]))
    packed = folder / "day-2.log.gz"
    packed.write_bytes(gzip.compress((folder / "day-2.log").read_bytes()))
    (folder / "day-2.log").unlink()
    return folder


def prepared(data_dir: Path, path: str, **settings: Any) -> Prepared:
    (data_dir / "datasets").mkdir(parents=True, exist_ok=True)
    (data_dir / "datasets" / "days.toml").write_text(DATASET.format(path=path))
    return prepare_logs("days", RunSettings(data_dir=data_dir, **settings))


def checksums(artifact_path: Path) -> dict[str, str]:
    """Of all files but the manifest, which tells the time of day."""
    return {
        str(path.relative_to(artifact_path)): sha256_of(path)
        for path in sorted(artifact_path.rglob("*.parquet"))
    }


@pytest.mark.usefixtures("prefect_server")
def test_the_number_of_shards_does_not_show_in_the_artifact(tmp_path: Path, days: Path) -> None:
    one, three = (
        prepared(tmp_path / name, f"{days}/day-*", num_shards=number)
        for name, number in (("one", 1), ("three", 3))
    )
    assert len(checksums(one.messages.path)) == 4 + 3
    assert checksums(one.messages.path) == checksums(three.messages.path)
    assert checksums(one.windows.path) == checksums(three.windows.path)
    numbers = tables.read(one.messages.path / "messages", tables.MESSAGES)["line_number"]
    assert numbers.to_pylist() == sorted(set(numbers.to_pylist()))
    assert one.messages.results["num_lines"] == 4_000


@pytest.mark.usefixtures("prefect_server")
def test_only_a_new_file_is_read_when_one_joins(tmp_path: Path, days: Path) -> None:
    late = days / "day-3.log"
    shutil.move(late, tmp_path / "late.log")
    prepared(tmp_path / "data", f"{days}/day-*")
    parts = set((tmp_path / "data" / "parts" / "days").glob("[!.]*"))
    assert len(parts) == 3
    shutil.move(tmp_path / "late.log", late)
    before = {part: (part / "vocabulary.parquet").stat().st_mtime_ns for part in parts}
    found = prepared(tmp_path / "data", f"{days}/day-*")
    assert len(set((tmp_path / "data" / "parts" / "days").glob("[!.]*"))) == 4
    assert {part: (part / "vocabulary.parquet").stat().st_mtime_ns for part in parts} == before
    assert found.messages.results["num_files"] == 4


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("runner", ["processes", "ray"])
def test_neither_processes_nor_a_cluster_show_in_the_artifact(
    tmp_path: Path, days: Path, runner: RunnerName
) -> None:
    here = prepared(tmp_path / "here", f"{days}/day-*", num_shards=1)
    there = prepared(tmp_path / "there", f"{days}/day-*", runner=runner, num_shards=3)
    assert checksums(here.messages.path) == checksums(there.messages.path)
    assert checksums(here.windows.path) == checksums(there.windows.path)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 server on this machine."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("logs")
    yield "s3://logs"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_logs_and_artifacts_may_lie_in_a_bucket(tmp_path: Path, days: Path, bucket: str) -> None:
    import s3fs

    s3fs.S3FileSystem().put([str(path) for path in days.iterdir()], "logs/raw/")
    here = prepared(tmp_path / "here", f"{days}/day-*")
    first = prepared(tmp_path / "first", f"{bucket}/raw/day-*", remote=f"{bucket}/store")
    differing = checksums(first.messages.path).items() ^ checksums(here.messages.path).items()
    assert {name for name, _ in differing} == {"files.parquet"}  # tells where the files lie
    assert checksums(first.windows.path) == checksums(here.windows.path)
    # A second machine, which has nothing yet, takes what the first one made.
    second = prepared(tmp_path / "second", f"{bucket}/raw/day-*", remote=f"{bucket}/store")
    assert second.windows.fingerprint == first.windows.fingerprint
    assert checksums(second.windows.path) == checksums(first.windows.path)
    assert not (tmp_path / "second" / "parts").exists()
