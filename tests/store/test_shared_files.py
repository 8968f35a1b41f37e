"""Equal files of artifacts lie on the disk once."""

import os
from pathlib import Path

import pytest

from logllm_core.store.intact_files import describe_files
from logllm_core.store.manifest import MANIFEST
from logllm_core.store.sealed_json import seal
from logllm_core.store.shared_files import link, link_over, share_files

CONTENTS = {"deep/old": b"the same" * 100, "changed": b"before"}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """An artifact that is in its place."""
    return artifact(tmp_path / "earlier", CONTENTS)


def artifact(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_bytes(seal({"files": describe_files(folder)}))
    return folder


def built(folder: Path) -> Path:
    """What shares one file with it, under another name."""
    folder.mkdir()
    (folder / "new").write_bytes(CONTENTS["deep/old"])
    (folder / "changed").write_bytes(b"after")
    return folder


def test_an_equal_file_is_linked_whatever_it_is_called_and_another_stays(
    earlier: Path, tmp_path: Path
) -> None:
    folder = built(tmp_path / "built")
    share_files(folder, describe_files(folder), [tmp_path / "gone", earlier])
    assert (folder / "new").samefile(earlier / "deep/old")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "new": CONTENTS["deep/old"],
        "changed": b"after",
    }
    assert (earlier / "changed").read_bytes() == b"before"


def test_an_artifact_that_goes_meanwhile_costs_nothing(earlier: Path, tmp_path: Path) -> None:
    folder = built(tmp_path / "built")
    link_over(earlier / "gone", folder / "new")
    (earlier / "deep/old").unlink()
    share_files(folder, describe_files(folder), [earlier])
    assert (folder / "new").read_bytes() == CONTENTS["deep/old"]


def test_a_file_that_only_claims_to_be_equal_is_not_linked(earlier: Path, tmp_path: Path) -> None:
    (earlier / "deep/old").write_bytes(b"the Same" * 100)
    folder = built(tmp_path / "built")
    share_files(folder, describe_files(folder), [earlier])
    assert (folder / "new").read_bytes() == CONTENTS["deep/old"]


def test_where_there_are_no_links_files_are_copied_or_stay(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    folder = built(tmp_path / "built")
    link_over(earlier / "deep/old", folder / "new")
    link(earlier / "deep/old", folder / "copied")
    assert {path.name for path in folder.iterdir()} == {"new", "changed", "copied"}
    assert (folder / "copied").read_bytes() == CONTENTS["deep/old"]


def test_a_name_of_the_same_file_stays_one(earlier: Path, tmp_path: Path) -> None:
    link(earlier / "deep/old", tmp_path / "other")
    link_over(earlier / "deep/old", tmp_path / "other")
    assert (tmp_path / "other").samefile(earlier / "deep/old")
    assert {path.name for path in tmp_path.iterdir()} == {"earlier", "other"}
