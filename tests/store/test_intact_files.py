import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from logllm_core.store import intact_files
from logllm_core.store.intact_files import damage_of, is_whole, sha256_of
from logllm_core.store.manifest import MANIFEST
from logllm_core.store.sealed_json import seal

NAMES = ("weights", "deep/table")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact of two files, written an hour ago."""
    folder = tmp_path / "artifact"
    (folder / "deep").mkdir(parents=True)
    files = []
    for name in NAMES:
        (folder / name).write_bytes(name.encode() * 100)
        size = (folder / name).stat().st_size
        files.append({"name": name, "size_bytes": size, "sha256": sha256_of(folder / name)})
    (folder / MANIFEST).write_bytes(seal({"files": files}))
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files whose content was read, in an hour from now."""
    read_names: list[str] = []

    def counted(path: Path) -> str:
        read_names.append(path.name)
        return sha256_of(path)

    now = time.time_ns()
    monkeypatch.setattr(intact_files, "sha256_of", counted)
    monkeypatch.setattr(time, "time_ns", lambda: now + 3_600_000_000_000)
    return read_names


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)


def flip_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_another(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)
    flip_and_set_the_time_back(other)
    other.rename(path)


def test_what_is_whole_is_read_once(folder: Path, reads: list[str]) -> None:
    assert [damage_of(folder), damage_of(folder)] == [None, None]
    assert reads == ["weights", "table"]
    assert damage_of(folder, is_remembered=False) is None
    assert len(reads) == 4


@pytest.mark.parametrize("damage", [flip, flip_and_set_the_time_back, replace_by_another])
@pytest.mark.usefixtures("reads")
def test_damage_that_keeps_the_size_is_found(folder: Path, damage: Callable[[Path], None]) -> None:
    assert damage_of(folder) is None
    damage(folder / "deep" / "table")
    assert is_whole(folder)  # by its sizes
    wanted = "deep/table is missing or not as it was written"
    assert [damage_of(folder), damage_of(folder)] == [wanted, wanted]


def test_what_was_written_within_a_tick_of_the_clock_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = max((folder / name).stat().st_ctime_ns for name in NAMES)
    monkeypatch.setattr(time, "time_ns", lambda: changed + intact_files.CLOCK_TICK_NS)
    assert damage_of(folder) is None
    flip(folder / "weights")  # in a file system whose clock still says the same
    assert damage_of(folder) == "weights is missing or not as it was written"


def test_a_copy_is_read_for_itself(folder: Path, reads: list[str], tmp_path: Path) -> None:
    assert damage_of(folder) is None
    flip(folder / "weights")
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert damage_of(copy) == "weights is missing or not as it was written"
    assert len(reads) == 4


def test_damaged_memory_is_no_damage(folder: Path, reads: list[str]) -> None:
    assert damage_of(folder) is None
    (folder / intact_files.REMEMBERED).write_text("{")
    assert damage_of(folder) is None
    assert len(reads) == 4


def test_a_missing_file_and_a_damaged_manifest_are_named(folder: Path) -> None:
    (folder / "weights").unlink()
    assert damage_of(folder) == "weights is missing or not as it was written"
    (folder / MANIFEST).write_bytes(seal({"files": None}))
    assert damage_of(folder) == "manifest.json: it lists no files"
    (folder / MANIFEST).unlink()
    assert damage_of(folder) == "manifest.json: No such file or directory"
    assert not is_whole(folder)
