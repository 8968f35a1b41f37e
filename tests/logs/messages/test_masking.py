import io
from time import process_time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.logs.messages import masking
from logllm_core.logs.messages.masking import mask_messages
from logllm_core.logs.messages.parsing import parse_block
from logllm_core.logs.records.line_blocks import read_blocks
from tests.logs.plain import mask_as_the_reference
from tests.logs.samples import of_line


def masked(*contents: str) -> list[str]:
    masked_texts: list[str] = mask_messages(pa.array(contents, pa.string())).to_pylist()
    return masked_texts


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


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(contents, max_size=10))
def test_any_text_is_masked_as_the_reference_masks_it(texts: list[str]) -> None:
    assert masked(*texts) == [mask_as_the_reference(text) for text in texts]


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.lists(
        st.sampled_from(
            ["\xe9", "a", "1", "_", "@", ".", "-", " ", "Jan", "one", "/", "True", "\xa0"]
        ),
        max_size=14,
    ).map("".join)
)
def test_letters_beyond_ascii_beside_any_sign_are_masked_as_the_reference_masks_them(
    text: str,
) -> None:
    assert masked(text) == [mask_as_the_reference(text)]


def test_every_character_of_latin_1_is_masked_as_the_reference_masks_it() -> None:
    characters = [chr(code) for code in range(256)]
    texts = [
        text
        for c in characters
        for text in (f"one{c}1{c}two", f"a{c}@{c}b", f"/a{c}b", f"Jan{c}7{c}x", f"{c}deadbeef{c}")
    ]
    assert masked(*texts) == [mask_as_the_reference(text) for text in texts]


# Python's engine would take hours for these: its time grows with the square, or the cube.
ADVERSARIES = [
    *("1\xe9", "a", "ab1\xe9@", "/", "/a", "7", "Jan ", "Jan 1 ", "a@", "@", "\xe9", "1.2.3.4\xe9"),
    *("a.", "a:", "True\xe9", "deadbeef\xe9", "one\xe9", ".", "...", "\x00", "\xa0", "Jan\xa0"),
    *("a-", "a@b-"),
]
# What is masked inside a run of letters and .:-_ without a digit.
RUNS = ["aa:", "Truex", "deadbeef-", "one-", "aa:bb:cc:dd:ee:ff-", "True.\xe9", "Truex/"]
BEGINNINGS = ["", "1.2.3.4@", "a@"]


def cpu_seconds(text: str) -> float:
    contents = pa.array([text], pa.string())
    fastest = float("inf")
    for _ in range(3):
        started = process_time()
        mask_messages(contents)
        fastest = min(fastest, process_time() - started)
    return fastest


@pytest.mark.parametrize("repeated", RUNS)
def test_words_masked_inside_a_long_run_without_a_digit_take_time_in_proportion(
    repeated: str,
) -> None:
    short, long = (repeated * (length // len(repeated)) for length in (20_000, 80_000))
    assert cpu_seconds(long) < 8 * max(cpu_seconds(short), 0.001)


RUN_PIECES = st.sampled_from(
    [
        *("a", "xyzw", "abcdefghij", "deadbeef", "aa:", "aa:bb:cc:dd:ee:ff:", "True", "false"),
        *(
            "one",
            "seventeen",
            "Mon",
            "Jan ",
            "_",
            ".",
            ":",
            "-",
            "@",
            "a@b",
            "/",
            "/c",
            "1",
            "\xe9",
        ),
        " ",
    ]
)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(RUN_PIECES, max_size=5), st.data())
def test_long_runs_are_masked_as_the_reference_masks_them(
    pieces: list[str], data: st.DataObject
) -> None:
    """Runs count as long from 28 characters on, so that the reference can follow."""
    texts = data.draw(
        st.lists(st.lists(st.sampled_from(pieces or ["a"]), max_size=14).map("".join), max_size=8)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking, "LONG_RUN", 28)
        patch.setattr(masking, "MARGIN", 12)
        assert masked(*texts) == [mask_as_the_reference(text) for text in texts]


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("repeated", ADVERSARIES)
def test_masking_takes_time_in_proportion_to_the_length(beginning: str, repeated: str) -> None:
    short = beginning + repeated * (10_000 // len(repeated))
    long = beginning + repeated * (40_000 // len(repeated))
    assert cpu_seconds(long) < 8 * max(cpu_seconds(short), 0.001)


@pytest.mark.parametrize("beginning", ["", "@", "1.2.3.4@"])
@pytest.mark.parametrize(
    "repeated", ["1\xe9", "ab1\xe9@", "Jan ", "\xe9", "a", "/", "7", "\x00", "/a"]
)
def test_a_long_line_is_parsed_and_masked_in_proportion_to_its_length(
    beginning: str, repeated: str
) -> None:
    def seconds(num_bytes: int) -> float:
        text = beginning + repeated * (num_bytes // len(repeated))
        started = process_time()
        (block,) = read_blocks(io.BytesIO(f"- {text}\n".encode("latin-1")))
        parsed = parse_block(of_line(fields=["label", "content"]), block)
        (masked_text,) = mask_messages(parsed.contents)
        assert len(masked_text.as_py()) > 0
        return process_time() - started

    assert seconds(320_000) < 32 * max(seconds(40_000), 0.01)  # in proportion, it is eight times


@pytest.mark.parametrize(
    ("repeated", "expected"),
    [
        ("a", "a" * 800),
        ("7", "<*>"),
        ("/a", "<*>"),
        ("1\xe9", "<*>\xe9" * 400),
        ("a@", "<*>@" * 200),
        ("a.", "a." * 400),
    ],
)
def test_a_word_of_eight_hundred_characters_is_masked_by_the_same_rules(
    repeated: str, expected: str
) -> None:
    assert masked(repeated * (800 // len(repeated))) == [expected]


def test_a_word_of_many_characters_before_an_at_sign_stays() -> None:
    assert masked("a" * 100_000 + "@") == ["a" * 100_000 + "@"]
