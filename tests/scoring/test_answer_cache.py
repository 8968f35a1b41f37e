import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from loguru import logger

from logllm_core.scoring import answer_cache
from logllm_core.scoring.answer_cache import Memory, open_memory
from logllm_core.store.store import Store
from tests.daily.sample_champions import model
from tests.rewriting import rewrite

ONE, OTHER = b"1" * 16, b"2" * 16


@pytest.fixture
def warnings() -> list[str]:
    found: list[str] = []
    logger.add(found.append, level="WARNING")
    return found


def file_of(folder: Path) -> Path:
    (path,) = folder.glob("*.sqlite")
    return path


def test_what_was_remembered_is_recalled_by_the_next_process(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.remember("windows", {ONE: b"a"})
    memory.remember("vectors", {ONE: b"b"})
    memory.close()
    again = Memory(tmp_path)
    assert again.recall("windows", [ONE, OTHER]) == {ONE: b"a"}
    assert again.recall("vectors", [ONE]) == {ONE: b"b"}
    again.remember("windows", {ONE: b"c"})
    assert again.recall("windows", [ONE]) == {ONE: b"c"}


def test_more_than_one_query_may_hold_are_recalled(tmp_path: Path) -> None:
    many = {number.to_bytes(16, "big"): b"x" for number in range(1_700)}
    memory = Memory(tmp_path)
    memory.remember("windows", many)
    assert memory.recall("windows", many) == many


def test_beyond_the_limit_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "LIMITS", {"windows": 3, "vectors": 3})
    memory = Memory(tmp_path)
    digests = [bytes([number]) * 16 for number in range(5)]
    for digest in digests:
        memory.remember("windows", {digest: b"x"})
    assert list(memory.recall("windows", digests)) == digests[2:]


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\7" * 500]
)
def test_a_damaged_file_is_told_and_begun_anew(
    tmp_path: Path, warnings: list[str], content: bytes
) -> None:
    Memory(tmp_path).close()
    file_of(tmp_path).write_bytes(content)
    memory = Memory(tmp_path)
    assert memory.recall("windows", [ONE]) == {}
    memory.remember("windows", {ONE: b"a"})
    assert memory.recall("windows", [ONE]) == {ONE: b"a"}
    assert len(warnings) == 1
    memory.close()
    assert Memory(tmp_path).recall("windows", [ONE]) == {ONE: b"a"}


def test_a_file_that_is_damaged_in_the_middle_does_not_stop_the_work(
    tmp_path: Path, warnings: list[str]
) -> None:
    many = {number.to_bytes(16, "big"): b"x" * 900 for number in range(300)}
    memory = Memory(tmp_path)
    memory.remember("windows", many)
    memory.close()
    path = file_of(tmp_path)
    content = bytearray(path.read_bytes())
    content[4_096:200_000] = b"\xff" * (200_000 - 4_096)
    path.write_bytes(content)
    memory = Memory(tmp_path)
    assert memory.recall("windows", many).items() <= many.items()
    memory.remember("windows", {ONE: b"a"})
    memory.recall("windows", many)
    assert len(warnings) == 1


def test_a_payload_with_a_flipped_bit_is_not_believed(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.remember("windows", {ONE: b"a", OTHER: b"b"})
    memory.close()
    with sqlite3.connect(file_of(tmp_path)) as connection:
        connection.execute("update windows set payload = ? where digest = ?", [b"c", ONE])
    connection.close()
    assert Memory(tmp_path).recall("windows", [ONE, OTHER]) == {OTHER: b"b"}


def test_a_folder_that_cannot_be_written_is_told_and_done_without(
    tmp_path: Path, warnings: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    memory = Memory(tmp_path / "file" / "folder")
    memory.remember("windows", {ONE: b"a"})
    assert memory.recall("windows", [ONE]) == {ONE: b"a"}
    assert len(warnings) == 1


FULL = """
import resource, sys
from pathlib import Path
from logllm_core.scoring.answer_cache import Memory
memory = Memory(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
many = {number.to_bytes(16, "big"): b"x" * 1000 for number in range(300)}
memory.remember("windows", many)
memory.remember("windows", {b"1" * 16: b"a"})
print(len(memory.recall("windows", many)))
"""


@pytest.mark.slow
def test_on_a_full_disk_it_remembers_no_more(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ,
    )
    assert done.stdout == "0\n"
    assert "Traceback" not in done.stderr


def test_what_an_earlier_version_remembered_goes(tmp_path: Path) -> None:
    store = Store(data_dir=tmp_path)
    trained = model(store, 1)
    open_memory(store, trained).remember("windows", {ONE: b"a"})
    folder = tmp_path / "scores" / "own" / trained.fingerprint
    for name in ("memory-1.sqlite", "memory-1.sqlite-journal"):
        (folder / name).write_bytes(b"old")
    assert open_memory(store, trained).recall("windows", [ONE]) == {ONE: b"a"}
    assert [path.name for path in folder.iterdir()] == [file_of(folder).name]


def test_each_model_has_its_own_and_that_of_a_removed_model_goes(tmp_path: Path) -> None:
    store = Store(data_dir=tmp_path)
    models = [model(store, 1), model(store, 2)]
    first, second = (open_memory(store, trained) for trained in models)
    first.remember("windows", {ONE: b"a"})
    assert second.recall("windows", [ONE]) == {}
    shutil.rmtree(models[0].path)
    open_memory(store, models[1])
    assert [path.name for path in (tmp_path / "scores" / "own").iterdir()] == [
        models[1].fingerprint
    ]


def test_what_other_weights_of_the_same_fingerprint_said_is_not_believed(tmp_path: Path) -> None:
    """As those of another machine, whose sums differ in their last bits."""
    store = Store(data_dir=tmp_path)
    trained = model(store, 1)
    open_memory(store, trained).remember("windows", {ONE: b"a"})
    (trained.path / "weights").write_text("2")
    rewrite(trained.path)
    assert open_memory(store, trained).recall("windows", [ONE]) == {}
