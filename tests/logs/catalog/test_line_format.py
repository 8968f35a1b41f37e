import io
from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.catalog.line_format import LineFormat
from logllm_core.logs.messages.parsing import ParsedBlock, parse_block
from logllm_core.logs.records.line_blocks import read_blocks
from tests.logs.samples import of_line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"fields": []}, "give either fields or pattern"),
        ({"fields": ["content"], "pattern": "(?P<content>.*)"}, "give either fields or pattern"),
        ({"pattern": "(?P<content>"}, "not a regular expression"),
        ({"pattern": "(?P<text>.*)"}, "is missing"),
        ({"pattern": "(a|b) (?P<content>.*)"}, "every group needs a name"),
        ({"pattern": "(?P<Level>.) (?P<content>.*)"}, "field names are lower-case"),
        ({"pattern": r"(?P<a>.)(?P=a) (?P<content>.*)"}, "as RE2 reads them"),
        ({"fields": ["content"], "session_field": "host"}, "is not among the fields"),
        (
            {"fields": ["host", "content"], "session_field": "host", "session_pattern": "x"},
            "give either session_pattern or session_field",
        ),
        ({"fields": ["content"], "session_pattern": "x*"}, "matches the empty text"),
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


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"blk\C", r"\\C matches a part of a character"),  # half of an é is no text
        (r"\Qblk", "not a regular expression"),  # its quotation would not end
        (r"\b", "matches the empty text"),
        (r"(?:|x)y?", "matches the empty text"),
        ("x" * 4_097, "longer than 4,096 characters"),  # seconds, were it x?
        ("(?P<a>x)", "the whole match is"),
        ("(" * 20_000, "longer than"),
        ("(" * 2_000, "not a regular expression"),
    ],
    ids=range(8),
)
def test_a_hostile_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(LogLLMError, match=message):
        of_line(fields=["content"], session_pattern=pattern)


def test_patterns_that_only_python_fails_at_are_read() -> None:
    # A nested set in waiting, and what Python's engine would take for ever to find in "".
    dataset = of_line(fields=["content"], session_pattern="[[x]")
    assert dataset.line.session_pattern == "[[x]"
    assert of_line(fields=["content"], session_pattern="(?:a?|b?){30}c").line.has_sessions


@pytest.mark.parametrize("pattern", [r"blk_\d+(?= to)", r"(?<!x)blk_\d+"])
def test_a_session_pattern_that_the_parser_cannot_use_is_refused(pattern: str) -> None:
    # Parsing uses RE2, which knows no look-around.
    with pytest.raises(LogLLMError, match="session_pattern"):
        of_line(fields=["content"], session_pattern=pattern)


@pytest.mark.parametrize("time_format", ["%Y-%m-%d %H:%M:%S.%f", "%Q", "seconds", "Epoch", ""])
def test_a_time_format_that_cannot_be_read_back_is_refused(time_format: str) -> None:
    with pytest.raises(ValidationError, match="a time cannot be read back"):
        LineFormat(fields=("day", "content"), time_fields=("day",), time_format=time_format)


@pytest.mark.parametrize(
    "time_format",
    [
        "%j" * 101,  # a line's time takes a millisecond with 60,000 of them
        "%999999j",
        "%Ey %-d",
        "%Y-%m-%d %C",  # reads 2018 as 2000
        "%H %I",  # and 15:00 as 03:00
        "%Y %U",
        "%Y\0",
    ],
)
def test_a_time_format_that_costs_much_or_reads_another_time_is_refused(time_format: str) -> None:
    with pytest.raises(ValidationError, match=r"of at most 100 signs and of the directives a A b"):
        LineFormat(fields=("day", "content"), time_fields=("day",), time_format=time_format)


@pytest.mark.parametrize(
    "time_format",
    [
        *("epoch", "epoch_ms", "iso", "%y%m%d %H%M%S", "%b %d %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z"),
        *("%c", "%Y %j %T", "%a %b %e %H:%M:%S", "%I:%M:%S %p", "am %d.%m. um %H Uhr"),
    ],
)
def test_a_time_format_that_can_be_read_back_is_taken(time_format: str) -> None:
    line = LineFormat(fields=("day", "content"), time_fields=("day",), time_format=time_format)
    assert line.time_format == time_format


def parse(dataset: Dataset, *lines: str) -> ParsedBlock:
    raw = "".join(f"{line}\n" for line in lines).encode("latin-1")
    (block,) = read_blocks(io.BytesIO(raw))
    return parse_block(dataset, block)


WEB: dict[str, Any] = {
    "pattern": r'(?P<host>\S+) \S+ \[(?P<day>[^\]]+)\] "(?P<content>[^"]*)"(?: (?P<code>\d+))?',
    "time_fields": ["day"],
    "time_format": "%d/%b/%Y:%H:%M:%S %z",
}


def test_a_pattern_cuts_the_whole_line_into_its_named_groups() -> None:
    block = parse(
        of_line(labels={"kind": "field", "field": "code", "normal": "200"}, **WEB),
        'ann - [10/Oct/2000:13:55:36 -0700] " GET /x " 200',
        'bob - [10/Oct/2000:13:55:36 +0000] "PUT /y" 500',
        'bob - [10/Oct/2000:13:55:36 +0000] "PUT /y" 500 more',
        "nothing alike",
    )
    assert block.contents.to_pylist() == ["GET /x", "PUT /y"]
    assert block.alerts.to_pylist() == [None, "500"]
    assert block.times.to_pylist() == [
        datetime(2000, 10, 10, 20, 55, 36),
        datetime(2000, 10, 10, 13, 55, 36),
    ]
    assert block.reject_numbers.to_pylist() == [2, 3]
    assert block.reject_lines.to_pylist()[1] == "nothing alike"


def test_a_pattern_of_two_ways_must_match_the_whole_line_in_either() -> None:
    block = parse(of_line(pattern=r"(?P<content>a+)|b"), "aa", "aab", "xaa", "b")
    assert block.contents.to_pylist() == ["aa", ""]
    assert block.reject_lines.to_pylist() == ["aab", "xaa"]


def test_a_pattern_sees_every_character_of_latin_1() -> None:
    block = parse(of_line(pattern="(?P<content>.*) \xe9"), "a\x00b\xff\x85 \xe9", "\xa0x\x1c \xe9")
    assert block.contents.to_pylist() == ["a\x00b\xff", "x"]  # white space at the ends goes


def test_a_block_in_which_nothing_matches_the_pattern_has_no_messages() -> None:
    block = parse(of_line(**WEB), "a", "b")
    assert len(block.contents) == len(block.times) == len(block.session_ids) == 0
    assert block.reject_numbers.to_pylist() == [0, 1]


@pytest.mark.parametrize(
    ("pattern", "alerts"),
    [
        ("ERROR|FATAL", ["ERROR", None, None, "FATAL"]),
        ("(?i)error|fatal", ["ERROR", "error", None, "FATAL"]),
        (r"\w+ERR\w+", [None, None, None, None]),
    ],
)
def test_a_line_is_an_alert_where_a_pattern_matches_its_field(
    pattern: str, alerts: list[str | None]
) -> None:
    labels = {"kind": "pattern", "pattern": pattern}
    block = parse(
        of_line(labels=labels, fields=["level", "content"]),
        *("INFO an ERROR", "INFO an error", "ERROR in the level alone", "INFO FATAL, an ERROR"),
    )
    assert block.alerts.to_pylist() == alerts


def test_a_pattern_may_label_by_another_field_than_the_content() -> None:
    labels = {"kind": "pattern", "field": "level", "pattern": "ERROR|FATAL"}
    block = parse(of_line(labels=labels, fields=["level", "content"]), "INFO ERROR", "FATAL x")
    assert block.alerts.to_pylist() == [None, "FATAL"]


def test_a_field_may_name_the_session() -> None:
    dataset = of_line(pattern=r"(?:id=(?P<id>\w*) )?(?P<content>.*)", session_field="id")
    block = parse(dataset, "id=7 opened id=9", "id=8 opened", "no session", "id= empty")
    assert block.session_ids.to_pylist() == [["7"], ["8"], [], []]


def test_what_a_normal_line_is_called_may_lie_beyond_ascii() -> None:
    dataset = of_line(fields=["label", "content"], labels={"kind": "field", "normal": "ruhig-ö"})
    lines = b"ruhig-\xc3\xb6 x\nruhig-\xf6 x\nruhig x\n"  # in UTF-8, in latin-1, another word
    (block,) = read_blocks(io.BytesIO(lines))
    assert parse_block(dataset, block).alerts.to_pylist() == [None, None, "ruhig"]
