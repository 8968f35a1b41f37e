from pathlib import Path
from typing import Any

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import (
    CountWindows,
    SessionWindows,
    find_dataset,
    list_datasets,
)
from logllm_core.logs.catalog.sources import Archive, LocalFile
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
    names = [dataset.name for dataset in list_datasets([CATALOG])[0]]
    assert names == sorted(path.stem for path in CATALOG.glob("*.toml"))
    assert {"bgl", "hdfs", "thunderbird", "liberty", "demo"} <= set(names)


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
    assert dataset.source == LocalFile(kind="file", path=(str(tmp_path / "logs/service.log"),))
    assert dataset == find_dataset(str(path), [CATALOG])  # by its path as well


def test_a_label_file_of_the_users_own_is_found_relative_to_its_toml_file(tmp_path: Path) -> None:
    text = OWN.format(more="").replace('service.log"', 'service.log"\nlabel_path = "labels.csv"')
    (tmp_path / "own.toml").write_text(text)
    source = find_dataset("own", [tmp_path]).source
    assert isinstance(source, LocalFile)
    assert source.label_path == str(tmp_path / "labels.csv")


def test_an_absolute_path_and_the_home_folder_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for written, expected in (("/var/a.log", "/var/a.log"), ("~/a.log", "/home/somebody/a.log")):
        text = OWN.format(more="").replace("logs/service.log", written)
        (tmp_path / "own.toml").write_text(text)
        source = find_dataset("own", [tmp_path]).source
        assert isinstance(source, LocalFile)
        assert source.paths == (expected,)


def test_several_paths_and_addresses_may_be_named(tmp_path: Path) -> None:
    named = '["logs/*.log", "/var/a.log", "s3://bucket/b.gz"]'
    text = OWN.format(more="").replace('"logs/service.log"', named)
    (tmp_path / "own.toml").write_text(text)
    source = find_dataset("own", [tmp_path]).source
    assert isinstance(source, LocalFile)
    assert source.paths == (f"{tmp_path}/logs/*.log", "/var/a.log", "s3://bucket/b.gz")


def test_the_folder_named_first_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write(first, "own.toml", more="train_fraction = 0.6")
    write(second, "own.toml")
    write(second, "other.toml")
    assert find_dataset("own", [first, second]).train_fraction == 0.6
    assert [(d.name, d.train_fraction) for d in list_datasets([first, second])[0]] == [
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"kind": "field", "field": "alert"}}, "is not among the line's fields"),
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
            "labels by session need windows by session",
        ),
        ({"line_slice": [5, 5]}, "line_slice must be two numbers"),
        ({"line_slice": [-1, 5]}, "line_slice must be two numbers"),
        ({"train_fraction": 1}, "train_fraction"),
        ({"windows": {"kind": "time"}}, "length_seconds: missing"),
        ({"windows": {"kind": "time", "length_seconds": 9, "step_seconds": 6}}, "a multiple of"),
        ({"windows": {"kind": "time", "length_seconds": 5, "step_seconds": 10}}, "a multiple of"),
        ({"windows": {"kind": "count", "length": 5, "step": 6}}, "lines between windows would be"),
        ({"windows": {"kind": "count", "length": 5, "step": 0}}, "greater than or equal to 1"),
        ({"line_slice": [0, 10**20]}, "line_slice: .* at most 64 bits"),
        ({"windows": {"kind": "count", "length": 10**11}}, "less than or equal to 1000000"),
        ({"windows": {"kind": "count", "length": 9_000, "step": 8}}, "each line would be in 1,125"),
        ({"windows": {"kind": "time", "length_seconds": 10**12}}, "less than or equal to"),
        (
            {"windows": {"kind": "time", "length_seconds": 10**6, "step_seconds": 1}},
            "each line would be in 1,000,000 windows, above 1,000",
        ),
        (
            {
                "windows": {"kind": "time", "length_seconds": 9},
                "line": {"fields": ["label", "content"]},
            },
            "windows by time need line.time_fields",
        ),
        ({"labels": {"kind": "pattern", "pattern": "fail("}}, "not a regular expression"),
        ({"labels": {"kind": "pattern", "pattern": "(fail|panic)"}}, "the whole match names"),
        ({"labels": {"kind": "pattern", "pattern": "x*"}}, "matches the empty text"),
        ({"labels": {"kind": "pattern", "field": "level", "pattern": "x"}}, "is not among"),
        ({"source": {"kind": "file", "path": []}}, "a path is wanted"),
        ({"source": {"kind": "file", "path": "a\0b"}}, "no path holds a NUL"),
        ({"source": {"kind": "file", "path": "a", "label_path": "\0"}}, "no path holds a NUL"),
        ({"source": {"kind": "file", "path": ""}}, "a path is wanted"),
        ({"source": {"kind": "file", "path": ["a.log", ""]}}, "a path is wanted"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LogLLMError, match=message):
        labelled_by_line(Path("own.log"), **changes)


def test_an_address_with_a_password_is_refused() -> None:
    source = {"kind": "archive", "url": "https://ann:secret@example.org/logs/a.gz"}
    with pytest.raises(LogLLMError, match="a password is in it"):
        labelled_by_line(Path("own.log"), source=source)


@pytest.mark.parametrize(
    "name", ["%2e%2e", "%2E", ".hidden", "a%00b", "a%0ab", "%1b[31m.gz", "manifest.json", "x" * 201]
)
def test_an_address_whose_last_part_is_no_name_of_a_file_is_refused(name: str) -> None:
    source = {"kind": "archive", "url": f"https://example.org/logs/{name}"}
    with pytest.raises(LogLLMError, match="no file can be named"):
        labelled_by_line(Path("own.log"), source=source)


def test_a_path_of_a_user_that_is_unknown_is_one_clear_error(tmp_path: Path) -> None:
    text = (CATALOG / "bgl.toml").read_text(encoding="utf-8")
    start, end = text.index("kind = "), text.index("[line]")
    own = f'{text[:start]}kind = "file"\npath = "~nosuchuser/x.log"\n{text[end:]}'
    (tmp_path / "own.toml").write_text(own, encoding="utf-8")
    with pytest.raises(LogLLMError, match="there is no such user"):
        find_dataset("own", [tmp_path])


@pytest.mark.parametrize(
    "name", ["../own", "..", "/etc/passwd", "own/", "Own", "own\n", "", "own;drop", "é", "x" * 64]
)
def test_a_name_that_is_no_plain_word_finds_nothing_and_makes_no_path(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "own.toml").write_bytes((CATALOG / "bgl.toml").read_bytes())
    with pytest.raises(LogLLMError, match="There is no data set"):
        find_dataset(name, [tmp_path / "catalog"])
