"""The views of copied, moved and fetched data folders, and of a file that others write into."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.query import views
from logllm_core.query.views import BATCH_ROWS, answering, refresh_views
from logllm_core.store.store import Store
from tests.logs.samples import labelled_by_line, windows_of
from tests.query.test_views import ask, prepare

COUNT = "select count(*) from own.messages"


@pytest.fixture
def warnings() -> list[str]:
    heard: list[str] = []
    logger.add(heard.append, level="WARNING", format="{message}")
    return heard


def copied(store: Store, folder: Path) -> Store:
    shutil.copytree(store.data_dir, folder)
    return Store(data_dir=folder)


def asked_by_duckdb(store: Store, statement: str) -> list[tuple[object, ...]]:
    """As a user asks who opens the file without any of this project."""
    with duckdb.connect(store.data_dir / "logllm.duckdb") as connection:
        return connection.execute(statement).fetchall()


def test_a_copied_folder_answers_for_itself_and_says_what_its_file_is(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path, num_lines=10)
    copy = copied(store, tmp_path / "copy")
    prepare(store, tmp_path, num_lines=20)
    assert ask(copy, COUNT) == [(10,)]
    (said,) = warnings
    assert f"{copy.data_dir}/logllm.duckdb is not used: it was made for {store.data_dir}" in said
    # Its rows come from its own files, not from equal ones of the original.
    shutil.rmtree(store.data_dir)
    assert ask(copy, COUNT) == [(10,)]


def test_after_a_refresh_a_moved_folder_is_its_own_for_everyone(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path)
    moved = Store(data_dir=store.data_dir.rename(tmp_path / "moved"))
    with pytest.raises(duckdb.IOException):
        asked_by_duckdb(moved, COUNT)
    refresh_views(moved)
    assert ask(moved, COUNT) == asked_by_duckdb(moved, COUNT) == [(10,)]
    assert asked_by_duckdb(moved, "from made_for") == [(str(moved.data_dir),)]
    assert not warnings


def test_a_folder_may_be_named_by_any_path_that_leads_there(
    store: Store, tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(store, tmp_path)
    (tmp_path / "link").symlink_to(store.data_dir)
    monkeypatch.chdir(tmp_path)
    for name in ("link", "data", "data/../link", "./data/"):
        assert ask(Store(data_dir=Path(name)), COUNT) == [(10,)]
    assert not warnings


def test_artifacts_fetched_from_a_remote_are_read(tmp_path: Path, warnings: list[str]) -> None:
    log = tmp_path / "own.log"
    log.write_text("".join(f"- {number} line\n" for number in range(10)))
    remote = (tmp_path / "remote").as_uri()
    for name in ("here", "there"):
        store = Store(data_dir=tmp_path / name, remote=remote)
        windows_of(store, labelled_by_line(log))
        refresh_views(store)
    shutil.rmtree(tmp_path / "here")
    assert ask(store, COUNT) == [(10,)]
    assert not warnings


def test_nothing_outside_the_data_folder_can_be_read(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    outside = tmp_path / "data-of-others"
    outside.mkdir()
    secret = outside / "secret.csv"
    secret.write_text("secret\n1\n")
    for text in (
        f"select * from read_text('{secret}')",
        f"from '{secret}'",
        f"from read_csv('{store.data_dir}/../data-of-others/secret.csv')",
        f"from glob('{outside}/*')",
        f"from glob('{tmp_path}/*')",
        f"from read_csv('{tmp_path}/data*/secret.csv')",
        "from read_text('/etc/passwd')",
        "from read_csv('https://127.0.0.1:9/secret.csv')",
        "from read_csv('s3://bucket/secret.csv')",
        "from secret",
    ):
        with pytest.raises(LogLLMError, match="refuses the query"):
            ask(store, text)
    shutil.copy(secret, store.data_dir)
    assert ask(store, f"from read_csv('{store.data_dir}/secret.csv')") == [(1,)]


def test_rows_are_read_as_they_are_asked_for(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    with answering(store, f"from range({10**12})") as answer:  # 8 TB
        assert answer.columns == ("range",)
        assert next(answer.batches) == [(number,) for number in range(BATCH_ROWS)]
        assert next(answer.batches)[0] == (BATCH_ROWS,)


def test_what_does_not_fit_into_memory_is_sorted_on_disk_or_one_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(store, tmp_path)
    monkeypatch.setattr(views, "QUERY_MEMORY", "20MB")
    grouped = "select range, max(range) from range(1_000_000) group by all"
    assert ask(store, f"select count(*) from ({grouped})") == [(1_000_000,)]
    with pytest.raises(LogLLMError, match="more than the 20MB of memory"):
        ask(store, "select list(range) from range(10_000_000)")


WRITER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("create table mine as select 1")
print("written", flush=True)
sys.stdin.readline()
connection.execute("insert into mine values (2)")
print("written", flush=True)
sys.stdin.readline()
"""


@contextmanager
def writer(store: Store) -> Iterator["subprocess.Popen[str]"]:
    """Someone who opened the file for writing, and wrote; killed at the end."""
    path = str(store.data_dir / "logllm.duckdb")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


@pytest.mark.slow
def test_a_writer_that_was_killed_stops_no_query(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path)
    wal = store.data_dir / "logllm.duckdb.wal"
    with writer(store):
        assert wal.is_file()
    assert ask(store, COUNT) == [(10,)]
    left = wal.read_bytes()
    refresh_views(store)
    assert not wal.exists()
    assert ask(store, COUNT) == asked_by_duckdb(store, COUNT) == [(10,)]
    assert not warnings
    wal.write_bytes(left)  # as someone leaves it who opened the old file before the refresh
    assert ask(store, COUNT) == [(10,)]
    assert "WAL does not match" in warnings[0]
    assert wal.read_bytes() == left
    refresh_views(store)
    assert asked_by_duckdb(store, COUNT) == [(10,)]


@pytest.mark.slow
def test_someone_who_writes_just_now_stops_neither_query_nor_refresh(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path)
    with writer(store) as process:
        assert ask(store, COUNT) == [(10,)]
        assert "Could not set lock" in warnings[0]
        refresh_views(store)
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n")  # into a file that has no name any more
        process.stdin.flush()
        assert process.stdout.readline() == "written\n"
        assert ask(store, COUNT) == [(10,)]
    assert ask(store, COUNT) == asked_by_duckdb(store, COUNT) == [(10,)]
    assert len(warnings) == 1


def test_a_damaged_or_missing_file_is_no_hindrance(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path)
    path = store.data_dir / "logllm.duckdb"
    path.unlink()
    assert ask(store, COUNT) == [(10,)]
    assert not warnings
    path.write_bytes(b"no database")
    assert ask(store, COUNT) == [(10,)]
    assert len(warnings) == 1


def test_a_folder_in_the_files_place_is_one_error(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path)
    path = store.data_dir / "logllm.duckdb"
    path.unlink()
    path.mkdir()
    with pytest.raises(LogLLMError, match=r"logllm.duckdb is a folder.*Remove the folder"):
        refresh_views(store)
    assert path.is_dir()
    assert ask(store, COUNT) == [(10,)]
    assert len(warnings) == 1


@pytest.mark.parametrize("name", ["memory", "main", "made", "made_for"])
def test_a_name_that_duckdb_or_the_file_uses_is_asked_with_and_without_it(
    store: Store, tmp_path: Path, name: str
) -> None:
    prepare(store, tmp_path, name=name)
    assert ask(store, f"select count(*) from {name}.messages") == [(10,)]
    (store.data_dir / "logllm.duckdb").unlink()
    assert ask(store, f"select count(*) from {name}.messages") == [(10,)]


def test_the_file_of_an_earlier_version_is_not_used(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path)
    path = store.data_dir / "logllm.duckdb"
    path.unlink()
    with duckdb.connect(path) as connection:
        connection.execute("create schema own; create view own.messages as select 1")
    assert ask(store, COUNT) == [(10,)]
    assert "an earlier version made it" in warnings[0]
