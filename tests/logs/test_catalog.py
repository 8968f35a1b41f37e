from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import (
    Archive,
    CountWindows,
    Dataset,
    LineFormat,
    LocalFile,
    SessionWindows,
    find_dataset,
    list_datasets,
)
from tests.logs.samples import CATALOG, labelled_by_line

OWN = """
title = "Our service"
{more}
[source]
kind = "file"
path = "logs/service.log"

[line]
fields = ["level", "content"]

[windows]
kind = "count"
"""


def write(folder: Path, name: str = "own.toml", more: str = "") -> Path:
    path = folder / name
    path.write_text(OWN.format(more=more))
    return path


def test_every_tracked_data_set_loads_under_the_name_of_its_file() -> None:
    found = [dataset.name for dataset in list_datasets([CATALOG])]
    assert found == sorted(path.stem for path in CATALOG.glob("*.toml"))
    assert {"bgl", "hdfs", "thunderbird", "liberty", "demo"} <= set(found)


@pytest.mark.parametrize(
    ("name", "size_bytes", "md5", "log_member", "line_slice"),
    [
        ("hdfs", 186_645_559, "76a24b4d9a6164d543fb275f89773260", "HDFS.log", None),
        ("bgl", 57_489_019, "4452953c470f2d95fcb32d5f6e733f7a", "BGL.log", None),
        (
            "thunderbird",
            2_016_100_298,
            "0891b048df2919dc78c99c4428686b44",
            "Thunderbird.log",
            (160_000_000, 170_000_000),
        ),
        ("liberty", None, None, None, (40_000_000, 45_000_000)),
    ],
)
def test_the_archives_are_the_published_ones(
    name: str,
    size_bytes: int | None,
    md5: str | None,
    log_member: str | None,
    line_slice: tuple[int, int] | None,
) -> None:
    dataset = find_dataset(name, [CATALOG])
    assert isinstance(dataset.source, Archive)
    assert (dataset.source.size_bytes, dataset.source.md5) == (size_bytes, md5)
    assert (dataset.source.log_member, dataset.line_slice) == (log_member, line_slice)
    assert dataset.train_fraction == 0.8


def test_windows_are_blocks_in_hdfs_and_a_hundred_lines_elsewhere() -> None:
    assert isinstance(find_dataset("hdfs", [CATALOG]).windows, SessionWindows)
    for name in ("bgl", "thunderbird", "liberty"):
        windows = find_dataset(name, [CATALOG]).windows
        assert isinstance(windows, CountWindows)
        assert windows.length == 100


def test_a_file_of_the_users_own_is_found_relative_to_its_toml_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    dataset = find_dataset("own", [tmp_path])
    assert dataset.source == LocalFile(kind="file", path=tmp_path / "logs/service.log")
    assert dataset == find_dataset(str(path), [CATALOG])  # by its path as well


def test_a_label_file_of_the_users_own_is_found_relative_to_its_toml_file(tmp_path: Path) -> None:
    text = OWN.format(more="").replace('service.log"', 'service.log"\nlabel_path = "labels.csv"')
    (tmp_path / "own.toml").write_text(text)
    source = find_dataset("own", [tmp_path]).source
    assert isinstance(source, LocalFile)
    assert source.label_path == tmp_path / "labels.csv"


def test_an_absolute_path_and_the_home_folder_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for written, expected in (("/var/a.log", "/var/a.log"), ("~/a.log", "/home/somebody/a.log")):
        text = OWN.format(more="").replace("logs/service.log", written)
        (tmp_path / "own.toml").write_text(text)
        source = find_dataset("own", [tmp_path]).source
        assert isinstance(source, LocalFile)
        assert source.path == Path(expected)


def test_the_folder_named_first_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write(first, "own.toml", more="train_fraction = 0.6")
    write(second, "own.toml")
    write(second, "other.toml")
    assert find_dataset("own", [first, second]).train_fraction == 0.6
    assert [(d.name, d.train_fraction) for d in list_datasets([first, second])] == [
        ("other", 0.8),
        ("own", 0.6),
    ]


def test_all_faults_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        """
        colour = "blue"
        train_fraction = 1.5
        [source]
        kind = "archive"
        url = "ftp://example.org/own.zip"
        md5 = "XYZ"
        [line]
        fields = ["content", "level"]
        [windows]
        kind = "count"
        length = 0
        """
    )
    with pytest.raises(LogLLMError) as fault:
        find_dataset("own", [tmp_path])
    lines = str(fault.value).splitlines()
    assert lines[0] == f"{tmp_path / 'own.toml'} has 7 faults:"
    places = {line.strip().partition(":")[0] for line in lines[1:]}
    assert places == {
        "colour",
        "title",
        "train_fraction",
        "source.archive.url",
        "source.archive.md5",
        "line.fields",
        "windows.count.length",
    }


def test_an_unknown_key_is_an_error_at_the_top_and_below(tmp_path: Path) -> None:
    write(tmp_path, more="titel = 'x'")
    with pytest.raises(LogLLMError, match="titel: no such setting"):
        find_dataset("own", [tmp_path])
    (tmp_path / "own.toml").write_text(OWN.format(more="") + "lenght = 20\n")
    with pytest.raises(LogLLMError, match=r"windows.count.lenght: no such setting"):
        find_dataset("own", [tmp_path])


def test_a_name_inside_the_file_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, more='name = "other"')
    with pytest.raises(LogLLMError, match="name"):
        find_dataset("own", [tmp_path])


@pytest.mark.parametrize("content", [b"title = ", b"\xff\xfe", b"no toml at all"])
def test_a_file_that_is_not_toml_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.toml").write_bytes(content)
    with pytest.raises(LogLLMError, match=r"own.toml is not a TOML file"):
        find_dataset("own", [tmp_path])


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, "b-own.toml")
    write(tmp_path, "a_own.toml")
    with pytest.raises(LogLLMError, match=r'no data set "c". Known: a_own, b-own\.'):
        find_dataset("c", [tmp_path])


@pytest.mark.parametrize("name", ["../own", "below/../../own", "/etc/own", "OWN", "own\n", "", "."])
def test_a_name_that_is_no_plain_word_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "datasets"
    (folder / "below").mkdir(parents=True)
    for place in (tmp_path, folder):  # what a careless look-up would find
        write(place, "own.toml")
        write(place, "OWN.toml")
        write(place, "own\n.toml")
    with pytest.raises(LogLLMError, match="There is no data set"):
        find_dataset(name, [folder])


@pytest.mark.parametrize("name", ["Own.toml", "my logs.toml", "1st.toml", "_x.toml", "a.b.toml"])
def test_a_file_whose_name_is_no_plain_word_is_an_error(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    with pytest.raises(LogLLMError, match="name is lower-case letters, digits, - and _"):
        find_dataset(str(path), [tmp_path])


def test_a_toml_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogLLMError, match=r"There is no file .*/own.toml"):
        find_dataset(str(tmp_path / "own.toml"), [tmp_path])


def of_line(**line: Any) -> Dataset:
    windows = {"kind": "session" if "session_pattern" in line else "count"}
    return labelled_by_line(Path("own.log"), line=line, labels=None, windows=windows)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"fields": []}, "the last field must be"),
        ({"fields": ["content", "level"]}, "the last field must be"),
        ({"fields": ["log-level", "content"]}, "field names are lower-case"),
        ({"fields": ["level)", "content"]}, "field names are lower-case"),
        ({"fields": ["level", "level", "content"]}, "field names must differ"),
        ({"fields": ["content", "content"]}, "field names must differ"),
        (
            {"fields": ["content"], "time_fields": ["epoch"], "time_format": "epoch"},
            "are not among the fields",
        ),
        ({"fields": ["day", "content"], "time_fields": ["day"]}, "go together"),
        ({"fields": ["day", "content"], "time_format": "epoch"}, "go together"),
        ({"fields": ["content"], "session_pattern": "blk_("}, "not a regular expression"),
        ({"fields": ["content"], "session_pattern": "(blk|id)_1"}, "the whole match is"),
        ({"fields": ["content"], "max_unparsed_fraction": 1.1}, "max_unparsed_fraction"),
    ],
)
def test_a_line_format_that_cannot_work_is_refused(line: dict[str, Any], message: str) -> None:
    with pytest.raises(LogLLMError, match=message):
        of_line(**line)


@pytest.mark.parametrize("pattern", [r"blk_\d+(?= to)", r"(?<!x)blk_\d+"])
def test_a_session_pattern_that_the_parser_cannot_use_is_refused(pattern: str) -> None:
    # Parsing uses RE2, which knows no look-around.
    with pytest.raises(LogLLMError, match="session_pattern"):
        of_line(fields=["content"], session_pattern=pattern)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"kind": "field", "field": "alert"}}, "is not among line.fields"),
        ({"windows": {"kind": "session"}}, "go together"),
        (
            {
                "labels": {
                    "kind": "sessions",
                    "session_column": "a",
                    "label_column": "b",
                    "anomalous": "c",
                    "normal": "d",
                }
            },
            "labels by session and windows by session go together",
        ),
        ({"line_slice": [5, 5]}, "line_slice must be two numbers"),
        ({"line_slice": [-1, 5]}, "line_slice must be two numbers"),
        ({"train_fraction": 1}, "train_fraction"),
        ({"windows": {"kind": "time"}}, "windows"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LogLLMError, match=message):
        labelled_by_line(Path("own.log"), **changes)


@pytest.mark.parametrize("time_format", ["%Y-%m-%d %H:%M:%S.%f", "%Q", "seconds"])
def test_a_time_format_that_cannot_be_read_back_is_refused(time_format: str) -> None:
    with pytest.raises(ValidationError, match="a time cannot be read back"):
        LineFormat(fields=("day", "content"), time_fields=("day",), time_format=time_format)
