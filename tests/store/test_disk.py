"""Files and folders appear whole, or not at all."""

import os
from pathlib import Path

import pytest

from logllm_core.store.disk import (
    Stamp,
    put_in_place,
    remove_unfinished,
    replace_file,
    set_aside,
    whole_file,
    whole_folder,
)


class CutOffError(Exception):
    """Whatever ends a writer."""


def contents(folder: Path) -> dict[str, str]:
    """All files below, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def cut_off(*_: object) -> None:
    raise CutOffError


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with whole_file(path) as beside:
        beside.write_text("half")
        assert path.read_text() == "old"
        beside.write_text("new")
    assert contents(tmp_path) == {"file": "new"}


def test_of_two_writers_at_once_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(path) as beside:
        beside.write_text("last")
        replace_file(path, b"first")
        assert path.read_text() == "first"
    assert contents(tmp_path) == {"file": "last"}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_where_the_disk_refuses_the_old_file_stays_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, call, cut_off)
    with pytest.raises(CutOffError):
        replace_file(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": "old"}


def test_a_folder_takes_the_place_of_a_damaged_one_and_of_what_a_kill_left(tmp_path: Path) -> None:
    for name in ("folder", ".folder.building"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    with whole_folder(tmp_path / "folder") as beside:
        (beside / "deep").mkdir()
        (beside / "deep" / "file").write_text("new")
        assert not (tmp_path / "folder").exists()
    assert contents(tmp_path) == {"folder/deep/file": "new"}


def test_of_a_folder_that_is_not_finished_nothing_stays(tmp_path: Path) -> None:

    def write() -> None:
        with whole_folder(tmp_path / "folder") as beside:
            (beside / "file").write_text("half")
            cut_off()

    with pytest.raises(CutOffError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_all_is_on_the_disk_before_the_name_is_given_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "file").write_text("content")
    flushed: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append(str(path).removeprefix(f"{tmp_path}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    put_in_place(made, tmp_path / "name")
    assert set(flushed[:3]) == {"/made/deep", "/made/deep/file", "/made"}
    assert flushed[3:] == [""]


def test_what_is_set_aside_replaces_nothing_that_was_before(tmp_path: Path) -> None:
    for content in ("first", "second"):
        (tmp_path / "file").write_text(content)
        set_aside(tmp_path / "file", "damaged")
    assert contents(tmp_path) == {".file.damaged-1": "first", ".file.damaged-2": "second"}


def test_a_stamp_tells_of_a_write_and_of_another_file_but_not_of_another_name(
    tmp_path: Path,
) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    assert Stamp.at(path) is None
    path.write_text("content")
    stamp = Stamp.at(path)
    assert stamp
    path.rename(other)
    assert Stamp.at(other) == stamp
    replace_file(path, b"content")
    os.utime(path, ns=(stamp.changed_ns, stamp.changed_ns))
    assert Stamp.at(path) != stamp
    os.utime(other, ns=(0, 1))
    assert Stamp.at(other) == stamp._replace(changed_ns=1)


def test_what_killed_writers_left_goes_a_day_later(tmp_path: Path) -> None:
    old, fresh, other = (
        tmp_path / name for name in (".a.1.writing", ".a.2.writing", ".b.1.writing")
    )
    for path in (old, fresh, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    remove_unfinished(tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {".a.2.writing", ".b.1.writing"}
