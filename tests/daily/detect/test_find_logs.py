import os
from pathlib import Path

import pytest

from logllm_core.daily.detect.find_logs import find_logs
from logllm_core.errors import LogLLMError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_of(folder: Path, *given: str) -> list[str]:
    found = find_logs([str(folder / one) for one in given])
    return [str(Path(path).relative_to(folder)) for path in found.paths]


def test_files_are_taken_in_the_order_given_those_of_folders_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "logs/b.log", "logs/a.log", "logs/deeper/c.log.gz", "z.log")
    assert names_of(tmp_path, "z.log", "logs") == [
        *("z.log", "logs/a.log", "logs/b.log", "logs/deeper/c.log.gz")
    ]


def test_what_is_named_twice_is_read_once(tmp_path: Path) -> None:
    touch(tmp_path, "logs/a.log")
    (tmp_path / "logs" / "current").symlink_to("a.log")
    assert names_of(tmp_path, "logs/a.log", "logs", "logs/../logs/a.log") == ["logs/a.log"]
    assert find_logs(["-", "-"]).paths == ("-",)


def test_what_is_no_log_of_a_folder_is_left_out_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "logs/a.log", "logs/.hidden", "logs/.git/x", "logs/old.tar.gz", "outside/b.log")
    folder = tmp_path / "logs"
    (folder / "link").symlink_to(tmp_path / "outside" / "b.log")
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "inner").symlink_to(folder)
    (folder / ".inner").symlink_to(folder)
    (folder / "broken").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.log")).touch()
    found = find_logs([str(folder)])
    assert found.paths == (str(folder / "a.log"),)
    assert found.left_out == {
        "hidden files and folders": 3,
        "links that lead outside of the folder": 2,
        "pipes, devices and broken links": 2,
        "archives of several files (.tar, .zip)": 1,
        "files whose names are not UTF-8": 1,
    }


def test_an_empty_folder_has_no_logs(tmp_path: Path) -> None:
    assert find_logs([str(tmp_path)]).paths == ()


def test_a_link_that_is_named_itself_is_followed(tmp_path: Path) -> None:
    touch(tmp_path, "a.log")
    (tmp_path / "current").symlink_to("a.log")
    assert names_of(tmp_path, "current") == ["current"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("s3://bucket/a.log", "s3://bucket/a.log is an address"),
        ("nowhere.log", "There is no file nowhere.log"),
        (os.devnull, "is a pipe or a device"),
    ],
)
def test_what_cannot_be_read_is_told(given: str, said: str) -> None:
    with pytest.raises(LogLLMError, match=said):
        find_logs([given])


def test_an_archive_of_several_files_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "logs.zip")
    with pytest.raises(LogLLMError, match=r"logs\.zip.*archives of several files.*Unpack"):
        find_logs([str(tmp_path / "logs.zip")])


def test_a_folder_that_cannot_be_listed_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "logs/a.log", "logs/secret/b.log")
    list_folder = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", path)
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_logs([str(tmp_path / "logs")])
    assert [Path(path).name for path in found.paths] == ["a.log"]
    assert found.left_out == {"folders that cannot be listed": 1}


def test_what_the_kernel_makes_up_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "environ").symlink_to("/proc/self/environ")
    for path in ("/proc/self/environ", str(tmp_path / "environ"), "/proc/kmsg"):
        with pytest.raises(LogLLMError, match=f"^{path} is made up by the kernel, not a file"):
            find_logs([path])
    found = find_logs(["/proc/self/attr"])  # a folder of files that claim to have no bytes
    assert found.paths == ()
    assert found.left_out["pipes, devices and broken links"] > 0
