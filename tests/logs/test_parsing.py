import io
import re
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.logs.catalog import Dataset
from logllm_core.logs.parsing import ParsedBlock, parse_lines, read_lines
from tests.logs.samples import published

BGL_HEAD = (
    "1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.363779 R02-M1-N0-C:J12-U11 "
    "RAS KERNEL INFO"
)


def lines_of(raw: bytes, block_bytes: int = 1 << 20, **limits: Any) -> list[str]:
    blocks = read_lines(io.BytesIO(raw), block_bytes=block_bytes, **limits)
    return [line for _, lines in blocks for line in lines.to_pylist()]


def lines_as_python_reads_them(raw: bytes) -> list[str]:
    with io.TextIOWrapper(io.BytesIO(raw), encoding="latin-1") as stream:
        return [line.removesuffix("\n") for line in stream]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\r", ["a", "b"]),
        (b"a\n\rb", ["a", "", "b"]),
        (b"a\r\r\nb", ["a", "", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"\n\n", ["", ""]),
        (b"", []),
        (b"a\x00b\n", ["a\x00b"]),
        (b"caf\xe9\xff\n", ["caf\xe9\xff"]),
        (b"a\x0bb\x0cc\x1cd\x85e\n", ["a\x0bb\x0cc\x1cd\x85e"]),  # no ends of lines
    ],
)
def test_lf_crlf_and_a_lone_cr_each_end_a_line(raw: bytes, expected: list[str]) -> None:
    for block_bytes in (1, 2, 3, 100):
        assert lines_of(raw, block_bytes) == expected


def test_a_crlf_cut_in_two_by_a_block_ends_one_line() -> None:
    assert lines_of(b"abc\r\ndef\r\n", block_bytes=4) == ["abc", "def"]


def test_a_lone_cr_at_the_end_of_a_block_ends_a_line() -> None:
    assert lines_of(b"abc\rdef", block_bytes=4) == ["abc", "def"]


def test_a_line_longer_than_many_blocks_stays_whole() -> None:
    long = "x" * 1_000_003
    assert lines_of(long.encode(), block_bytes=1_000) == [long]
    assert lines_of(f"a\n{long}\r\nb".encode(), block_bytes=1_000) == ["a", long, "b"]


def test_each_block_tells_the_number_of_its_first_line() -> None:
    blocks = read_lines(io.BytesIO(b"a\nb\nc\nd\ne"), block_bytes=4)
    assert [(first, lines.to_pylist()) for first, lines in blocks] == [
        (0, ["a", "b"]),
        (2, ["c", "d"]),
        (4, ["e"]),
    ]


def test_lines_that_end_where_blocks_end_do_not_pile_up() -> None:
    blocks = read_lines(io.BytesIO(b"abc\r" * 10), block_bytes=4)
    assert [lines.to_pylist() for _, lines in blocks] == [["abc"]] * 10


@pytest.mark.parametrize(
    ("line_slice", "expected"),
    [
        ((0, 2), [(0, ["a", "b"])]),
        ((1, 4), [(1, ["b"]), (2, ["c", "d"])]),
        ((2, 3), [(2, ["c"])]),
        ((3, 99), [(3, ["d"]), (4, ["e"])]),
        ((5, 9), []),
    ],
)
def test_a_slice_keeps_raw_line_numbers(
    line_slice: tuple[int, int], expected: list[tuple[int, list[str]]]
) -> None:
    blocks = read_lines(io.BytesIO(b"a\nb\nc\nd\ne\n"), line_slice, block_bytes=4)
    assert [(first, lines.to_pylist()) for first, lines in blocks] == expected


def test_nothing_is_read_beyond_the_end_of_a_slice() -> None:
    stream = io.BytesIO(b"a\n" * 100)
    assert [lines.to_pylist() for _, lines in read_lines(stream, (0, 3), block_bytes=10)] == [
        ["a", "a", "a"]
    ]
    assert stream.tell() == 10


raw_bytes = st.binary(max_size=40) | st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc", b"\xe9", b"\x00", b"\x85"]), max_size=30
).map(b"".join)


@settings(max_examples=300, deadline=None, database=None)
@given(raw=raw_bytes, block_bytes=st.integers(1, 50))
def test_any_bytes_in_any_blocks_give_the_lines_of_pythons_text_mode(
    raw: bytes, block_bytes: int
) -> None:
    expected = lines_as_python_reads_them(raw)
    numbered = []
    for first, lines in read_lines(io.BytesIO(raw), block_bytes=block_bytes):
        lines.validate(full=True)
        numbered += list(enumerate(lines.to_pylist(), start=first))
    assert numbered == list(enumerate(expected))


@settings(max_examples=200, deadline=None, database=None)
@given(
    raw=raw_bytes,
    block_bytes=st.integers(1, 50),
    start=st.integers(0, 12),
    length=st.integers(1, 12),
)
def test_any_slice_gives_the_same_lines_as_slicing_the_whole(
    raw: bytes, block_bytes: int, start: int, length: int
) -> None:
    line_slice = (start, start + length)
    expected = list(enumerate(lines_as_python_reads_them(raw)))[slice(*line_slice)]
    blocks = read_lines(io.BytesIO(raw), line_slice, block_bytes)
    found = [pair for first, lines in blocks for pair in enumerate(lines.to_pylist(), first)]
    assert found == expected


def parse(dataset: Dataset, *lines: str, first: int = 0) -> ParsedBlock:
    return parse_lines(dataset, first, pa.array(lines, pa.string()))


def of_fields(**line: Any) -> Dataset:
    """BGL with another line format and no labels."""
    values = {**published("bgl").model_dump(), "line": line, "labels": None}
    if "session_pattern" in line:
        values["windows"] = {"kind": "session"}
    return Dataset.parse(values, origin="a test's data set")


def test_a_line_of_bgl_is_cut_into_label_time_and_content() -> None:
    block = parse(
        published("bgl"),
        f"- {BGL_HEAD} instruction cache parity error corrected",
        f"KERNDTLB {BGL_HEAD} data TLB error interrupt",
        first=7,
    )
    assert block.line_numbers.to_pylist() == [7, 8]
    assert block.contents.to_pylist() == [
        "instruction cache parity error corrected",
        "data TLB error interrupt",
    ]
    assert block.alerts.to_pylist() == [None, "KERNDTLB"]
    assert block.times.to_pylist() == [datetime(2005, 6, 3, 22, 42, 50)] * 2
    assert block.session_ids.to_pylist() == [[], []]
    assert block.reject_lines.to_pylist() == []


def test_a_line_of_hdfs_is_cut_into_time_blocks_and_content() -> None:
    block = parse(
        published("hdfs"),
        "081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block blk_-1608 src: /10.2.1.4",
    )
    assert block.contents.to_pylist() == ["Receiving block blk_-1608 src: /10.2.1.4"]
    assert block.times.to_pylist() == [datetime(2008, 11, 9, 20, 35, 18)]
    assert block.session_ids.to_pylist() == [["blk_-1608"]]
    assert block.alerts.to_pylist() == [None]


def test_white_space_between_fields_may_be_any_run_and_inside_the_content_it_stays() -> None:
    block = parse(published("bgl"), f"  -\t{BGL_HEAD}   two  words\t here  ")
    assert block.contents.to_pylist() == ["two  words\t here"]


def test_a_line_without_content_is_rejected() -> None:
    block = parse(
        published("bgl"), f"- {BGL_HEAD}", f"- {BGL_HEAD} x", f"- {BGL_HEAD}  ", "", "too short"
    )
    assert block.line_numbers.to_pylist() == [1]
    assert block.contents.to_pylist() == ["x"]
    assert block.reject_numbers.to_pylist() == [0, 2, 3, 4]
    assert block.reject_lines.to_pylist() == [f"- {BGL_HEAD}", f"- {BGL_HEAD}  ", "", "too short"]


@pytest.mark.parametrize("blank", ["\xa0", "\x85", "\x0b", "\x1c", "\x1f\xa0"])
def test_a_line_whose_content_is_white_space_beyond_ascii_is_rejected(blank: str) -> None:
    block = parse(published("bgl"), f"- {BGL_HEAD} {blank}")
    assert block.contents.to_pylist() == []
    assert block.reject_numbers.to_pylist() == [0]


def test_no_lines_at_all_give_an_empty_block() -> None:
    block = parse(published("hdfs"))
    assert len(block.contents) == len(block.session_ids) == len(block.reject_lines) == 0


def test_a_block_of_rejects_only_has_no_messages() -> None:
    for name in ("bgl", "hdfs"):
        block = parse(published(name), "short", "shorter")
        assert len(block.line_numbers) == len(block.session_ids) == len(block.alerts) == 0
        assert block.reject_numbers.to_pylist() == [0, 1]


field_lines = st.lists(
    st.sampled_from(
        ["a", "-", "7", " ", "  ", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\xe9", "\x00"]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(field_lines, max_size=6))
def test_any_line_is_cut_at_the_white_space_that_python_knows(lines: list[str]) -> None:
    dataset = of_fields(fields=["label", "epoch", "content"])
    block = parse(dataset, *lines)
    cut = [line.split(maxsplit=2) for line in lines]
    kept = [(number, fields[2]) for number, fields in enumerate(cut) if len(fields) == 3]
    found = zip(block.line_numbers.to_pylist(), block.contents.to_pylist(), strict=True)
    assert list(found) == [(number, content.rstrip()) for number, content in kept]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", datetime(1970, 1, 1)),
        ("1117838570", datetime(2005, 6, 3, 22, 42, 50)),
        ("99999999999", datetime(5138, 11, 16, 9, 46, 39)),
        ("999999999999", None),
        ("-1", None),
        ("1117838570.5", None),
        ("noon", None),
    ],
)
def test_a_time_that_is_no_epoch_is_null_and_the_line_stays(
    text: str, expected: datetime | None
) -> None:
    dataset = of_fields(fields=["epoch", "content"], time_fields=["epoch"], time_format="epoch")
    block = parse(dataset, f"{text} message")
    assert block.contents.to_pylist() == ["message"]
    assert block.times.to_pylist() == [expected]


def test_a_time_that_does_not_follow_its_format_is_null_and_the_line_stays() -> None:
    block = parse(published("hdfs"), "081399 203518 1 INFO a: x", "081109 2x3518 1 INFO a: y")
    assert block.contents.to_pylist() == ["x", "y"]
    assert block.times.to_pylist() == [None, None]


def test_without_a_time_format_no_line_has_a_time() -> None:
    block = parse(of_fields(fields=["level", "content"]), "INFO a", "INFO b")
    assert block.times.to_pylist() == [None, None]


def test_the_tag_of_normal_lines_is_the_data_sets_choice() -> None:
    dataset = published("bgl")
    values = {**dataset.model_dump(), "labels": {"kind": "field", "normal": "ok"}}
    block = parse(
        Dataset.parse(values, origin="a test's data set"), f"ok {BGL_HEAD} x", f"- {BGL_HEAD} y"
    )
    assert block.alerts.to_pylist() == [None, "-"]


def test_a_line_belongs_once_to_every_session_it_names_in_order() -> None:
    dataset = of_fields(fields=["content"], session_pattern=r"blk_-?\d+")
    block = parse(dataset, "none", "blk_5", "blk_9 to blk_-2, blk_9 and blk_1", "blk_7 blk_7", "x")
    assert block.session_ids.to_pylist() == [
        [],
        ["blk_5"],
        ["blk_9", "blk_-2", "blk_1"],
        ["blk_7"],
        [],
    ]


def test_lines_of_at_most_one_session_each_get_theirs() -> None:
    dataset = of_fields(fields=["content"], session_pattern=r"blk_-?\d+")
    block = parse(dataset, "to blk_5", "none", "blk_6", "none")
    assert block.session_ids.to_pylist() == [["blk_5"], [], ["blk_6"], []]


def test_sessions_are_sought_in_the_content_only() -> None:
    dataset = of_fields(fields=["node", "content"], session_pattern=r"blk_\d+")
    assert parse(dataset, "blk_1 says blk_2").session_ids.to_pylist() == [["blk_2"]]


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["blk_1", "blk_-2", "blk_", " ", "3", "x"]), max_size=6).map(
            "".join
        ),
        max_size=6,
    )
)
def test_any_content_names_the_sessions_that_python_finds(texts: list[str]) -> None:
    dataset = of_fields(fields=["content"], session_pattern=r"blk_-?\d+")
    kept = [text for text in texts if text.strip()]
    expected = [list(dict.fromkeys(re.findall(r"blk_-?\d+", text))) for text in kept]
    assert parse(dataset, *texts).session_ids.to_pylist() == expected
