import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.logs.download import obtain_log, open_log
from logllm_core.logs.masking import mask_message, mask_messages
from logllm_core.logs.parsing import parse_lines, read_lines
from logllm_core.store import Store
from tests.logs.samples import published

# The reference's rules as they are published, with their own groups.
REFERENCE_RULES = (
    r"True",
    r"true",
    r"False",
    r"false",
    r"\b(zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen"
    r"|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundred|thousand|million|billion)\b",
    r"\b(Mon|Monday|Tue|Tuesday|Wed|Wednesday|Thu|Thursday|Fri|Friday|Sat|Saturday|Sun|Sunday)\b",
    r"\b(Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|Jun(?:e)?|Jul(?:y)?|Aug(?:ust)?"
    r"|Sep(?:tember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\s+(\d{1,2})\s+\b",
    r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(:\d{1,5})?",
    r"([0-9A-Fa-f]{2}:){11}[0-9A-Fa-f]{2}",
    r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}",
    r"[a-zA-Z0-9]*[:\.]*([/\\]+[^/\\\s\[\]]+)+[/\\]*",
    r"\b[0-9a-fA-F]{8}\b",
    r"\b[0-9a-fA-F]{10}\b",
    r"(\w+[\w\.]*)@(\w+[\w\.]*)\-(\w+[\w\.]*)",
    r"(\w+[\w\.]*)@(\w+[\w\.]*)",
    r"[a-zA-Z\.\:\-\_]*\d[a-zA-Z0-9\.\:\-\_]*",
)
_REFERENCE = re.compile("|".join(REFERENCE_RULES))
AS_ZERO = str.maketrans("123456789", "0" * 9)


def mask_as_the_reference(content: str) -> str:
    return _REFERENCE.sub("<*>", re.sub(r"\.{3,}", ".. ", content))


def masked(*contents: str) -> list[str]:
    found: list[str] = mask_messages(pa.array(contents, pa.string())).to_pylist()
    return found


EXAMPLES = [
    # dots
    ("a....b", "a.. b"),
    ("a...b", "a.. b"),
    ("a..b", "a..b"),
    ("wait state enable.....5", "wait state enable.. <*>"),
    # truth values, anywhere and in two spellings
    ("True true False false", "<*> <*> <*> <*>"),
    ("untrue", "un<*>"),
    ("TRUE", "TRUE"),
    # numbers in words
    ("one of twelve failed", "<*> of <*> failed"),
    ("none, One", "none, One"),
    # days and dates
    ("on Monday or Tue", "on <*> or <*>"),
    ("Mondays", "Mondays"),
    ("at Jun 12 core", "at <*>core"),
    ("June  3  core", "<*>core"),
    ("Jun core", "Jun core"),
    ("Jun 12", "Jun <*>"),
    ("May 7 .", "May <*> ."),
    # addresses
    ("from 10.0.0.1 to 10.0.0.2:8080", "from <*> to <*>"),
    ("1.2.3.4.5", "<*><*>"),
    ("1.2.3.4:123456", "<*><*>"),
    # hardware addresses without a digit, which no later rule takes
    ("aa:bb:cc:dd:ee:ff", "<*>"),
    ("aa:bb:cc:dd:ee:ff:aa:bb:cc:dd:ee:ff", "<*>"),
    ("aa:bb:cc:dd:ee:ff:aa", "<*>:aa"),
    ("aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee"),
    # paths
    ("open /usr/lib/x now", "open <*> now"),
    ("a/b c:\\d\\e\\ file:/f", "<*> <*> <*>"),
    ("and / or", "and / or"),
    ("/[x] /y[z]", "/[x] <*>[z]"),
    # words of 8 and of 10 hexadecimal digits
    ("deadbeef deadbeefaa", "<*> <*>"),
    ("deadbee deadbeefa deadbeefs", "deadbee deadbeefa deadbeefs"),
    # users and hosts
    ("user@host", "<*>"),
    ("user@host-name", "<*>"),
    ("user@host-", "<*>-"),
    # whatever holds a digit
    ("generating core.2275", "generating <*>"),
    ("rank_b-1:c x12y v=3", "<*> <*> v=<*>"),
    ("(dcr 0x0157) detected", "(dcr <*>) detected"),
    ("141 double-hummer alignment exceptions", "<*> double-hummer alignment exceptions"),
    ("no digit at all", "no digit at all"),
    ("", ""),
]


@pytest.mark.parametrize(("content", "expected"), EXAMPLES)
def test_each_rule_masks_what_it_names_and_no_more(content: str, expected: str) -> None:
    assert masked(content) == [expected]
    assert mask_message(content) == expected


def test_the_statement_of_the_reference_agrees_with_the_examples_by_hand() -> None:
    for content, expected in EXAMPLES:
        assert mask_as_the_reference(content) == expected


def test_all_rules_are_tried_in_one_pass() -> None:
    # Address first, rest later would leave "node-<*>".
    assert masked("node-1.2.3.4:80") == ["<*>"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("true/x", "<*><*>"),  # the truth value goes before the path
        ("Mon/x", "<*><*>"),  # so does the day
        ("deadbeef/x", "<*>"),  # but the path goes before the hexadecimal word
    ],
)
def test_the_earlier_rule_wins_where_two_could_begin(content: str, expected: str) -> None:
    assert masked(content) == [expected]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one\xe9 \xe9one", "one\xe9 \xe9one"),  # \xe9 is a letter, so no word ends there
        ("deadbeef\xe9", "deadbeef\xe9"),
        ("\xe9@\xe9-\xe9", "<*>"),
        ("Jun\xa012\xa0x", "<*>x"),  # \xa0 is white space
        ("Jun\x0b3\x1cx", "<*>x"),
        ("/a\xa0b", "<*>\xa0b"),
        ("\xb2", "\xb2"),  # a superscript is no digit
        ("a\x001", "a\x00<*>"),
    ],
)
def test_letters_and_white_space_beyond_ascii_count_as_in_python(
    content: str, expected: str
) -> None:
    assert masked(content) == [expected]


def test_messages_keep_their_places_when_some_are_beyond_ascii() -> None:
    assert masked("a 1", "\xe9 2", "b", "\xe9@\xe9", "c 3") == [
        "a <*>",
        "\xe9 <*>",
        "b",
        "<*>",
        "c <*>",
    ]


def test_no_messages_give_no_messages() -> None:
    assert masked() == []


FRAGMENTS = (
    *(
        "True",
        "false",
        "one",
        "ten",
        "Mon",
        "Monday",
        "Jun",
        "June",
        "May",
        "deadbeef",
        "aa:",
        "ff",
    ),
    *(
        " ",
        "  ",
        "\t",
        ".",
        "...",
        ":",
        "-",
        "_",
        "/",
        "\\",
        "[",
        "]",
        "@",
        "<*>",
        "1",
        "23",
        "456",
    ),
    *("10.0.0.1", "\xa0", "\x85", "\x0b", "\x1c", "\xe9", "\xb2", "\x00", "\n", "\r"),
)
contents = st.lists(
    st.sampled_from(FRAGMENTS)
    | st.text(st.characters(max_codepoint=255), max_size=3)  # what latin-1 can give
    | st.text("aAfF09:.@-/ ", max_size=4),
    max_size=8,
).map("".join)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(contents, max_size=10))
def test_any_text_is_masked_as_the_reference_masks_it(texts: list[str]) -> None:
    assert masked(*texts) == [mask_as_the_reference(text) for text in texts]


@pytest.mark.parametrize("name", ["bgl", "hdfs", "thunderbird"])
def test_every_line_of_real_logs_is_masked_as_the_reference_masks_it(
    name: str, mirror: Path, store: Store
) -> None:
    dataset = published(name)
    num_lines = 0
    with open_log(dataset, obtain_log(store, dataset, mirror=mirror)) as stream:
        for first, lines in read_lines(stream):
            block = parse_lines(dataset, first, lines)
            # No rule tells one digit from another and none leaves one, so lines that differ only in
            # their digits are stated once; to state each would take ten seconds.
            shapes = [text.translate(AS_ZERO) for text in block.contents.to_pylist()]
            stated = {shape: mask_as_the_reference(shape) for shape in set(shapes)}
            expected = [stated[shape] for shape in shapes]
            assert mask_messages(block.contents).to_pylist() == expected
            num_lines += len(expected)
    assert num_lines >= 2_000


def test_a_word_of_many_characters_is_masked_in_linear_time() -> None:
    # Python's engine would take hours.
    assert masked("a" * 100_000 + "@") == ["a" * 100_000 + "@"]
