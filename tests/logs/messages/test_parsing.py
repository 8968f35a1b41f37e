import io
import re
import tracemalloc
from datetime import datetime
from time import process_time
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages.parsing import ParsedBlock, parse_block
from logllm_core.logs.records.line_blocks import Block, read_blocks
from logllm_core.logs.records.line_cutter import LineCutter
from tests.logs.samples import lines_as_python_reads_them, of_line, published

BGL_HEAD = (
    "1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.363779 R02-M1-N0-C:J12-U11 "
    "RAS KERNEL INFO"
)


def lines_of(raw: bytes, block_bytes: int = 1 << 20, **limits: Any) -> list[str]:
    blocks = read_blocks(io.BytesIO(raw), block_bytes=block_bytes, **limits)
    return [line for block in blocks for line in block.lines().to_pylist()]


def numbered_lines(
    raw: bytes, line_slice: tuple[int, int] | None = None, block_bytes: int = 1 << 20
) -> list[tuple[int, list[str]]]:
    """The first line's number and the lines of each block."""
    blocks = read_blocks(io.BytesIO(raw), line_slice, block_bytes)
    return [(block.first_line_number, block.lines().to_pylist()) for block in blocks]


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


def test_a_crlf_cut_in_two_by_a_block_ends_one_line_and_so_does_a_lone_cr() -> None:
    assert lines_of(b"abc\r\ndef\r\n", block_bytes=4) == ["abc", "def"]
    assert lines_of(b"abc\rdef", block_bytes=4) == ["abc", "def"]


def test_a_line_longer_than_many_blocks_stays_whole() -> None:
    long = "x" * 1_000_003
    assert lines_of(long.encode(), block_bytes=1_000) == [long]
    assert lines_of(f"a\n{long}\r\nb".encode(), block_bytes=1_000) == ["a", long, "b"]


def test_each_block_tells_the_number_of_its_first_line() -> None:
    assert numbered_lines(b"a\nb\nc\nd\ne", block_bytes=4) == [
        (0, ["a", "b"]),
        (2, ["c", "d"]),
        (4, ["e"]),
    ]


def test_lines_that_end_where_blocks_end_do_not_pile_up() -> None:
    kept_lines = numbered_lines(b"abc\r" * 10, block_bytes=4)
    assert [lines for _, lines in kept_lines] == [["abc"]] * 10


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
    assert numbered_lines(b"a\nb\nc\nd\ne\n", line_slice, block_bytes=4) == expected


def test_nothing_is_read_beyond_the_end_of_a_slice() -> None:
    stream = io.BytesIO(b"a\n" * 100)
    (block,) = read_blocks(stream, (0, 3), block_bytes=10)
    assert block.lines().to_pylist() == ["a", "a", "a"]
    assert stream.tell() == 10


raw_bytes = st.binary(max_size=40) | st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc", b"\xe9", b"\x00", b"\x85"]), max_size=30
).map(b"".join)


@settings(max_examples=100, deadline=None, database=None)
@given(raw=raw_bytes, block_bytes=st.integers(1, 50))
def test_any_bytes_in_any_blocks_give_the_lines_of_pythons_text_mode(
    raw: bytes, block_bytes: int
) -> None:
    expected = lines_as_python_reads_them(raw)
    numbered = []
    for block in read_blocks(io.BytesIO(raw), block_bytes=block_bytes):
        block.lines().validate(full=True)
        numbered += list(enumerate(block.lines().to_pylist(), start=block.first_line_number))
        assert len(block) == len(block.lines())
    assert numbered == list(enumerate(expected))


@settings(max_examples=100, deadline=None, database=None)
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
    blocks = numbered_lines(raw, line_slice, block_bytes)
    assert [pair for first, lines in blocks for pair in enumerate(lines, first)] == expected


def parse(dataset: Dataset, *lines: str, first: int = 0) -> ParsedBlock:
    text = "".join(f"{line}\n" for line in lines).encode("latin-1")
    return parse_block(dataset, Block(first_line_number=first, text=text))


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


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(field_lines, min_size=1, max_size=6))
def test_any_line_is_cut_at_the_white_space_that_python_knows(lines: list[str]) -> None:
    dataset = of_line(fields=["label", "epoch", "content"])
    block = parse(dataset, *lines)
    cut = [line.split(maxsplit=2) for line in lines]
    kept = [(number, fields[2]) for number, fields in enumerate(cut) if len(fields) == 3]
    kept_lines = zip(block.line_numbers.to_pylist(), block.contents.to_pylist(), strict=True)
    assert list(kept_lines) == [(number, content.rstrip()) for number, content in kept]


def test_a_time_that_does_not_follow_its_format_is_null_and_the_line_stays() -> None:
    block = parse(published("hdfs"), "081399 203518 1 INFO a: x", "081109 2x3518 1 INFO a: y")
    assert block.contents.to_pylist() == ["x", "y"]
    assert block.times.to_pylist() == [None, None]


def test_without_a_time_format_no_line_has_a_time() -> None:
    block = parse(of_line(fields=["level", "content"]), "INFO a", "INFO b")
    assert block.times.to_pylist() == [None, None]


def test_the_tag_of_normal_lines_is_the_data_sets_choice() -> None:
    dataset = published("bgl")
    values = {**dataset.model_dump(), "labels": {"kind": "field", "normal": "ok"}}
    block = parse(
        Dataset.parse(values, origin="a test's data set"), f"ok {BGL_HEAD} x", f"- {BGL_HEAD} y"
    )
    assert block.alerts.to_pylist() == [None, "-"]


def test_a_line_belongs_once_to_every_session_it_names_in_order() -> None:
    dataset = of_line(fields=["content"], session_pattern=r"blk_-?\d+")
    block = parse(dataset, "none", "blk_5", "blk_9 to blk_-2, blk_9 and blk_1", "blk_7 blk_7", "x")
    assert block.session_ids.to_pylist() == [
        [],
        ["blk_5"],
        ["blk_9", "blk_-2", "blk_1"],
        ["blk_7"],
        [],
    ]


def test_lines_of_at_most_one_session_each_get_theirs() -> None:
    dataset = of_line(fields=["content"], session_pattern=r"blk_-?\d+")
    block = parse(dataset, "to blk_5", "none", "blk_6", "none")
    assert block.session_ids.to_pylist() == [["blk_5"], [], ["blk_6"], []]


def test_sessions_are_sought_in_the_content_only() -> None:
    dataset = of_line(fields=["node", "content"], session_pattern=r"blk_\d+")
    assert parse(dataset, "blk_1 says blk_2").session_ids.to_pylist() == [["blk_2"]]


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["blk_1", "blk_-2", "blk_", " ", "3", "x"]), max_size=6).map(
            "".join
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_content_names_the_sessions_that_python_finds(texts: list[str]) -> None:
    dataset = of_line(fields=["content"], session_pattern=r"blk_-?\d+")
    kept = [text for text in texts if text.strip()]
    expected = [list(dict.fromkeys(re.findall(r"blk_-?\d+", text))) for text in kept]
    assert parse(dataset, *texts).session_ids.to_pylist() == expected


# Long lines and large logs


@pytest.mark.parametrize("blank", [" ", "\t", "\x1c", "\xa0"])
def test_white_space_over_many_reads_is_one_rejected_line(blank: str) -> None:
    stream = io.BytesIO(blank.encode("latin-1") * 1_000_000)
    (block,) = read_blocks(stream, block_bytes=400_000)
    parsed = parse_block(of_line(fields=["label", "content"]), block)
    assert (len(parsed.contents), parsed.reject_numbers.to_pylist()) == (0, [0])
    assert len(parsed.reject_lines[0].as_py()) == 1_000_000


@pytest.mark.parametrize("word", ["a", "\x00", "\xe9", "1 ", "\x85x", "blk_1 "])
def test_a_line_over_many_reads_is_parsed_as_any_other(word: str) -> None:
    text = word * (1_000_000 // len(word))
    started = process_time()
    stream = io.BytesIO(f"- {text}".encode("latin-1"))
    (block,) = read_blocks(stream, block_bytes=400_000)
    parsed = parse_block(of_line(fields=["label", "content"], session_pattern=r"blk_\d"), block)
    assert process_time() - started < 1
    assert parsed.contents.to_pylist() == [text.strip()]
    assert parsed.session_ids.to_pylist() == [["blk_1"] if word == "blk_1 " else []]


class Endless(io.RawIOBase):
    """A line of so many bytes, and another one behind it."""

    def __init__(self, num_bytes: int) -> None:
        self._num_left = num_bytes
        self._behind = [b"\n- b\n"]

    def read(self, size: int = -1, /) -> bytes:
        num_read = min(size, self._num_left)
        self._num_left -= num_read
        return b"a" * num_read if num_read else self._behind.pop() if self._behind else b""


def test_of_a_line_that_is_too_long_the_rest_is_cut_and_does_not_fill_the_memory() -> None:
    tracemalloc.start()
    try:
        blocks = list(
            read_blocks(cast(Any, Endless(50_000_000)), block_bytes=10_000, max_line_bytes=100_000)
        )
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert [text for block in blocks for text in block.lines().to_pylist()] == [
        "a" * 100_000,
        "- b",
    ]
    assert [block.cut.tolist() for block in blocks] == [[0]]


LONG = st.sampled_from([b"a", b"bc", b"d" * 7, b"e" * 8, b"f" * 20, b"\r", b"\n", b"\r\n"])


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(LONG, max_size=20), st.integers(1, 30))
def test_however_they_come_lines_are_cut_at_the_same_byte(
    pieces: list[bytes], block_bytes: int
) -> None:
    raw, passed = b"".join(pieces), list[bytes]()
    whole = lines_as_python_reads_them(raw)
    blocks = list(read_blocks(io.BytesIO(raw), block_bytes=block_bytes, max_line_bytes=7))
    assert [text for block in blocks for text in block.lines().to_pylist()] == [
        line[:7] for line in whole
    ]
    cut = [int(place) + block.first_line_number for block in blocks for place in block.cut]
    assert cut == [number for number, line in enumerate(whole) if len(line) > 7]
    cutter = LineCutter(7, passed=passed.append)
    for start in range(0, len(raw), block_bytes):
        cutter.push(raw[start : start + block_bytes])
    cutter.rest()
    assert b"".join(passed) == raw


def test_a_slice_of_a_log_counts_the_long_lines_in_it() -> None:
    raw = b"aaaa\nb\ncccc\nd\neeee\n"
    (block,) = read_blocks(io.BytesIO(raw), (2, 4), max_line_bytes=3)
    assert (block.lines().to_pylist(), block.cut.tolist()) == (["ccc", "d"], [0])


def test_blocks_are_no_larger_than_asked_for_where_lines_are_short() -> None:
    raw = b"a line of twenty-two\r\n" * 100_000
    assert max(len(b.text) for b in read_blocks(io.BytesIO(raw), block_bytes=4_096)) <= 4_096 + 22


def test_nul_bytes_are_part_of_words_and_of_session_ids() -> None:
    dataset = of_line(fields=["label", "content"], session_pattern="id=[^ ]+")
    block = parse(dataset, "\x00 id=\x001 id=\xe9\x00\xff x\x00")
    assert block.contents.to_pylist() == ["id=\x001 id=\xe9\x00\xff x\x00"]
    assert block.session_ids.to_pylist() == [["id=\x001", "id=\xe9\x00\xff"]]


def test_lines_beyond_ascii_are_counted_once_each() -> None:
    block = parse(of_line(fields=["label", "content"]), "- a", "\xe9 \xe9\xe9", "\x7f b", "\x80")
    assert block.num_beyond_ascii == 2
    assert block.contents.to_pylist() == ["a", "\xe9\xe9", "b"]
    assert block.reject_lines.to_pylist() == ["\x80"]


def test_lines_with_control_characters_and_those_a_lone_cr_ended_are_counted() -> None:
    # Lines: nul, tab, lone CR, CRLF, delete, lone CR again, and an empty one ended by CR.
    text = b"a\0\0\nb\tc\nd\re\r\nf\x7f\ng\r\rh\n"
    (block,) = read_blocks(io.BytesIO(text))
    assert (len(block), block.num_lines_with_controls) == (8, 2)
    assert block.returned.tolist() == [2, 5, 6]
    assert block.part(2, 6).returned.tolist() == [0, 3]
    assert block.part(3, 5).returned.tolist() == []


@given(st.lists(st.sampled_from([b"x", b"\r", b"\n", b"\r\n"]), max_size=40), st.integers(1, 9))
def test_lone_crs_are_counted_across_blocks(pieces: list[bytes], block_bytes: int) -> None:
    text = b"".join(pieces)
    num_returned = sum(
        len(block.returned) for block in read_blocks(io.BytesIO(text), None, block_bytes)
    )
    assert num_returned == text.count(b"\r") - text.count(b"\r\n")


def test_an_empty_match_is_no_session_and_no_alert() -> None:
    # At the end of a word that ends the line it matches nothing, which no check foresees.
    pattern = r"\b(?:a|b)*$\b"
    log = b"x up\nx up ab\nx -\nx up!\n"
    labels = {"kind": "pattern", "pattern": pattern}
    dataset = of_line(labels, fields=["level", "content"], session_pattern=rf"{pattern}|u|p")
    parsed = parse_block(dataset, Block(first_line_number=0, text=log))
    assert parsed.session_ids.to_pylist() == [["u", "p"], ["u", "p", "ab"], [], ["u", "p"]]
    assert parsed.alerts.to_pylist() == [None, "ab", None, None]
