"""Files become parts on their own; parts become one log."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages import Masking, file_messages
from logllm_core.logs.messages.file_messages import build_part
from logllm_core.logs.messages.log_messages import (
    build_messages,
    find_messages,
    is_masked_in_parts,
    message_files,
    read_vocabulary,
)
from logllm_core.logs.records import line_blocks
from logllm_core.logs.sources.raw_log import RawFile, log_files, obtain_log, open_file
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.store.store import Artifact, Store
from tests.logs.plain import plain_prepare
from tests.logs.samples import (
    EPOCH,
    as_prepared,
    labelled_by_line,
    lines_as_python_reads_them,
    message_rows,
    messages_of,
    rows,
)

FIRST = b"- 10 core 1 up\nKERN 11 link down\n- 12 core 2 up\n"
SECOND = b"- 13 link down\nno content\n- 14 fan caf\xe9 on\r\n- 15 core 3 up"  # no end of line
EMPTY = b""
LINE = {
    "fields": ["label", "epoch", "content"],
    "time_fields": ["epoch"],
    "time_format": "epoch",
    "max_unparsed_fraction": 0.5,
}


def write(folder: Path, *contents: bytes) -> list[Path]:
    paths = [folder / f"{number}.log" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def own(*paths: Path, **changes: Any) -> Dataset:
    return labelled_by_line(*paths, **{"line": LINE, **changes})


def build(store: Store, dataset: Dataset, order: Sequence[int]) -> Artifact:
    """Parts built in that order, then put together in the files' own."""
    raw = obtain_log(store, dataset, mirror=None)
    files = log_files(raw)
    built = {n: build_part(store, dataset, raw, files[n], is_masked=True) for n in order}
    return build_messages(
        store, dataset, raw, [built[n] for n in range(len(files))], preprocessing="regex"
    )


def content_of(artifact: Artifact) -> dict[str, str]:
    """The checksum of every file but the manifest."""
    return {
        path.relative_to(artifact.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in artifact.path.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def prepared(store: Store, dataset: Dataset) -> list[Artifact]:
    """Part, messages and windows of a log of one file."""
    messages = messages_of(store, dataset)
    (part,) = store.all("parts", dataset.name)[:1]
    return [part, messages, build_windows(store, dataset, messages, validation_fraction=0)]


def shared_files(before: Artifact, after: Artifact) -> set[str]:
    """The files of one that are, under another name, files of the other."""
    known = {path.stat().st_ino for path in before.path.rglob("*")}
    shared = [path for path in after.path.rglob("*") if path.stat().st_ino in known]
    return {path.relative_to(after.path).as_posix() for path in shared}


def test_files_are_one_log_whose_line_numbers_and_ids_run_on(store: Store, tmp_path: Path) -> None:
    built = messages_of(store, own(*write(tmp_path, FIRST, SECOND)))
    assert [Path(path).name for path in message_files(built)] == [
        "part-00000000-0000.parquet",
        "part-00000001-0000.parquet",
    ]
    assert [
        (row["line_number"], row["content"], row["message_id"]) for row in message_rows(built)
    ] == [
        (0, "core 1 up", 0),
        (1, "link down", 1),
        (2, "core 2 up", 0),
        (3, "link down", 1),
        (5, "fan caf\xe9 on", 2),
        (6, "core 3 up", 0),
    ]
    assert rows(built.path / "vocabulary.parquet", tables.VOCABULARY) == [
        {"message_id": 0, "text": "core <*> up", "num_lines": 3, "first_line_number": 0},
        {"message_id": 1, "text": "link down", "num_lines": 2, "first_line_number": 1},
        {"message_id": 2, "text": "fan caf\xe9 on", "num_lines": 1, "first_line_number": 5},
    ]
    assert rows(built.path / "rejects.parquet", tables.REJECTS) == [
        {"line_number": 4, "line": "no content"}
    ]


def test_files_of_a_log_are_listed_with_their_first_lines(store: Store, tmp_path: Path) -> None:
    paths = write(tmp_path, FIRST, EMPTY, SECOND)
    built = messages_of(store, own(*paths))
    files = rows(built.path / "files.parquet", tables.FILES)
    assert [(f["location"], f["first_line_number"], f["num_lines"]) for f in files] == [
        (str(paths[0]), 0, 3),
        (str(paths[1]), 3, 0),
        (str(paths[2]), 3, 4),
    ]
    assert built.results["num_files"] == 3
    assert (built.results["num_lines"], built.results["num_lines_beyond_ascii"]) == (7, 1)


def test_many_files_give_the_windows_of_the_one_file_they_would_make(
    store: Store, tmp_path: Path
) -> None:
    contents = [FIRST, EMPTY, SECOND + b"\n", FIRST, FIRST]
    dataset = own(*write(tmp_path, *contents))
    built = messages_of(store, dataset)
    windows = build_windows(store, dataset, built, validation_fraction=0.5)
    lines = lines_as_python_reads_them(b"".join(contents))
    assert as_prepared(built, windows) == plain_prepare(dataset, lines, validation_fraction=0.5)


def test_the_bytes_are_the_same_whatever_the_order_and_place_of_the_parts(tmp_path: Path) -> None:
    paths = write(tmp_path, FIRST, SECOND, FIRST * 2)
    dataset = own(*paths)
    first = build(Store(data_dir=tmp_path / "a"), dataset, (0, 1, 2))
    again = build(Store(data_dir=tmp_path / "b"), dataset, (2, 0, 1))
    assert first.fingerprint == again.fingerprint
    assert content_of(first) == content_of(again)
    assert len(content_of(first)) == 6  # three parts, vocabulary, rejects, files


def test_a_file_that_was_read_is_not_read_again_when_another_joins_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(tmp_path, FIRST, SECOND)
    messages_of(store, own(paths[0]))
    opened = []

    def counted(raw: Artifact, file: RawFile) -> Any:
        opened.append(Path(file.location).name)
        return open_file(raw, file)

    monkeypatch.setattr(file_messages, "open_file", counted)
    messages_of(store, own(*paths))
    messages_of(store, own(*reversed(paths)))  # in order of their names anyway, or not: no matter
    assert opened == ["1.log"]


def test_two_files_of_the_same_content_are_one_part_and_two_files_of_the_log(
    store: Store, tmp_path: Path
) -> None:
    built = messages_of(store, own(*write(tmp_path, FIRST, FIRST)))
    assert [row["line_number"] for row in message_rows(built)] == [0, 1, 2, 3, 4, 5]
    assert len(store.all("parts", "own")) == 1


def test_of_a_log_that_has_grown_only_the_new_end_takes_room_on_the_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_messages, "FILE_LINES", 4_096)
    lines = [b"- %d core %d up\n" % (number, number % 7) for number in range(14_000)]
    (path,) = write(tmp_path, b"".join(lines[:10_000]))
    before = prepared(store, own(path))
    with path.open("ab") as file:
        file.writelines(lines[10_000:])
    after = prepared(store, own(path))
    # Files of 4,096 lines: 10,000 fill two, without rejects both times. Files of 256 windows: 8,000
    # lines for training are 2,000 windows, which fill seven, without validation both times.
    nothing = "rejects.parquet"
    assert [shared_files(*both) for both in zip(before, after, strict=True)] == [
        {"messages/part-0000.parquet", "messages/part-0001.parquet", nothing},
        {"messages/part-00000000-0000.parquet", "messages/part-00000000-0001.parquet", nothing},
        {f"split=train/part-000{n}.parquet" for n in range(7)}
        | {"split=validation/part-0000.parquet"},
    ]
    apart = Store(data_dir=tmp_path / "apart")
    for built, anew in zip(after, prepared(apart, own(path)), strict=True):
        assert content_of(built) == content_of(anew)


def test_a_higher_limit_of_unparsed_lines_reads_no_file_again(store: Store, tmp_path: Path) -> None:
    paths = write(tmp_path, SECOND)
    with pytest.raises(LogLLMError, match="1 of 4 lines do not match"):
        messages_of(store, own(*paths, line={**LINE, "max_unparsed_fraction": 0.1}))
    assert messages_of(store, own(*paths)).results["num_unparsed_lines"] == 1
    assert len(store.all("parts", "own")) == 1


def test_the_first_unparsed_line_is_told_by_its_file_and_its_number_there(
    store: Store, tmp_path: Path
) -> None:
    paths = write(tmp_path, FIRST, b"oops\nouch\n")
    with pytest.raises(LogLLMError, match="2 of 5 lines do not match") as fault:
        messages_of(store, own(*paths, line={**LINE, "max_unparsed_fraction": 0.1}))
    assert f"First at line 0 of {paths[1]}: 'oops'. Wanted: label epoch" in str(fault.value)


def test_a_log_of_another_format_is_told_at_its_beginning(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write(tmp_path, b"oops\n" * 1_000 + FIRST)
    read_blocks = line_blocks.read_blocks
    monkeypatch.setattr(
        line_blocks,
        "read_blocks",
        lambda stream, part, **options: read_blocks(stream, part, 5_000, **options),
    )
    with pytest.raises(LogLLMError, match=r"none of the first 1,000 lines of .*0.log matches"):
        messages_of(store, own(path))
    assert not store.all("parts", "own")
    # Where any share of unparsed lines is allowed, it is not.
    allowed = messages_of(store, own(path, line={**LINE, "max_unparsed_fraction": 1}))
    assert allowed.results["num_unparsed_lines"] == 1_000


def test_a_slice_of_a_log_of_many_files_is_an_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(LogLLMError, match="line_slice counts the lines of one file"):
        messages_of(store, own(*write(tmp_path, FIRST, SECOND), line_slice=(0, 2)))


@pytest.mark.parametrize(
    ("preprocessing", "vocabulary"),
    [
        ("regex", ["core <*> up", "link down", "fan caf\xe9 on"]),
        ("none", ["core 1 up", "link down", "core 2 up", "fan caf\xe9 on", "core 3 up"]),
        ("drain-template", ["core <*> up", "link down", "fan caf\xe9 on"]),
        ("drain-id", ["1", "2", "3"]),
    ],
)
def test_messages_may_be_masked_or_left_or_drains(
    store: Store, tmp_path: Path, preprocessing: Masking, vocabulary: list[str]
) -> None:
    dataset = own(*write(tmp_path, FIRST, SECOND))
    built = messages_of(store, dataset, preprocessing=preprocessing)
    assert read_vocabulary(built) == vocabulary
    assert built.results["preprocessing"] == preprocessing
    assert built.results["num_distinct_messages"] == len(vocabulary)
    assert built.results["has_parser_seen_test_lines"] == preprocessing.startswith("drain")
    assert [row["content"] for row in message_rows(built)][:2] == ["core 1 up", "link down"]
    raw = obtain_log(store, dataset, mirror=None)
    assert find_messages(store, dataset, raw, preprocessing=preprocessing) == built
    other: Masking = "none" if preprocessing == "regex" else "regex"
    assert find_messages(store, dataset, raw, preprocessing=other) is None


def test_drain_reads_the_parts_that_the_masking_reads(store: Store, tmp_path: Path) -> None:
    dataset = own(*write(tmp_path, FIRST, SECOND))
    for preprocessing in ("regex", "drain-id", "drain-template"):
        messages_of(store, dataset, preprocessing=preprocessing)
    assert len(store.all("parts", "own")) == 2
    assert [is_masked_in_parts(m) for m in ("regex", "none", "drain-id")] == [True, False, True]


def test_long_lines_are_written_before_they_fill_the_memory(store: Store, tmp_path: Path) -> None:
    # 60 lines of 1 MiB each; as 131,072 lines a row group they would all be held at once.
    (path,) = write(tmp_path, b"".join(b"- 7 %s\n" % (b"x" * (1 << 20)) for _ in range(60)))
    content = pq.ParquetFile(message_files(messages_of(store, own(path)))[0])
    assert content.num_row_groups > 1
    sizes = [content.metadata.row_group(n).total_byte_size for n in range(content.num_row_groups)]
    assert max(sizes) < 40 << 20


def test_control_characters_and_odd_line_ends_are_counted_and_kept(
    store: Store, tmp_path: Path
) -> None:
    raw = b"- 1 a\x00b\r- 2 c\x1b[0m\r\n- 3 \xff\x80\n\r- 4 d" + b"x" * 200 + b"\n"
    dataset = own(*write(tmp_path, raw), windows={"kind": "count", "length": 2})
    built = messages_of(store, dataset)
    windows = build_windows(store, dataset, built, validation_fraction=0)
    assert as_prepared(built, windows) == plain_prepare(dataset, lines_as_python_reads_them(raw))
    assert (built.results["num_lines"], built.results["num_unparsed_lines"]) == (5, 1)
    assert built.results["num_lines_beyond_ascii"] == 1


def test_lines_that_name_no_session_or_time_are_counted(store: Store, tmp_path: Path) -> None:
    raw = f"- {EPOCH} id=7\n- noon id=7\n- noon x\n- {EPOCH} y\n- noon z\n".encode()
    line = {**LINE, "session_pattern": r"id=\d"}
    built = messages_of(store, own(*write(tmp_path, raw), line=line, windows={"kind": "session"}))
    assert built.results["num_lines_without_time"] == 3
    assert built.results["num_lines_without_session"] == 3


def test_threads_that_read_side_by_side_leave_the_interpreter_as_it_was() -> None:
    before = sys.getswitchinterval()
    first, second = file_messages._quick_turns(), file_messages._quick_turns()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # the first to begin ends first
    assert sys.getswitchinterval() < before
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(before)
