r"""Masking: the variable parts of a message become `<*>` (paper, section IV-A).

Runs of dots are shortened first. Then ONE pass of one ordered alternation replaces every match;
masking rule by rule would differ (`node-1.2.3.4:80` is `<*>` in one pass, `node-<*>` rule by rule).

The reference runs these rules on Python's engine, whose time grows with the cube of a word's
length. RE2 needs linear time, but its `\w`, `\s` and `\b` know ASCII only, where Python's know all
characters. The two classes are spelt out here; `\b` is mended by marks, see `_mask_beyond_ascii`.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

VERSION = 2  # raise when a message would be masked differently
MASK = "<*>"
LONG_RUN = 4_096  # characters; so far a search may go in vain
MARGIN = 64  # characters; longer than any word or address of the rules
DOTS = (r"\.{3,}", ".. ")

_LATIN_1 = [chr(code) for code in range(256)]
_SPACE = r"\s\x0b\x1c-\x1f\x{85}\x{a0}"
_BEYOND = "".join(rf"\x{{{ord(c):x}}}" for c in _LATIN_1[128:] if c.isalnum())  # word characters
# Marks, put into a text and taken out again (see `_mask_with_marks`); latin-1 has none of them.
_LIVE, _DEAD = "\ue000", "\ue001"
_MARK = f"[{_LIVE}{_DEAD}]"
_WORD = rf"0-9A-Za-z_{_BEYOND}"
# A rule never begins at a mark, but goes on across it.
_BEFORE_AT = rf"[{_WORD}][{_WORD}{_LIVE}\.]*"
_AFTER_AT = rf"[{_WORD}][{_WORD}{_LIVE}{_DEAD}\.]*"

RULES = (
    r"True|true|False|false",
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen"
    r"|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundred|thousand|million|billion)\b",
    r"\b(?:Mon|Monday|Tue|Tuesday|Wed|Wednesday|Thu|Thursday|Fri|Friday|Sat|Saturday|Sun|Sunday)\b",
    r"\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|Jun(?:e)?|Jul(?:y)?|Aug(?:ust)?"
    rf"|Sep(?:tember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)[{_SPACE}]+\d{{1,2}}[{_SPACE}]+\b",
    r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?",
    rf"(?:[0-9A-Fa-f]{{2}}:{_MARK}?){{11}}[0-9A-Fa-f]{{2}}",
    rf"(?:[0-9A-Fa-f]{{2}}:{_MARK}?){{5}}[0-9A-Fa-f]{{2}}",
    rf"(?:[a-zA-Z0-9][a-zA-Z0-9{_LIVE}]*)?(?:[:\.]{_MARK}?)*"
    rf"(?:[/\\]+[^/\\\[\]{_SPACE}]+)+[/\\]*",
    r"\b[0-9a-fA-F]{8}\b",
    r"\b[0-9a-fA-F]{10}\b",
    rf"{_BEFORE_AT}@{_AFTER_AT}\-{_MARK}?{_AFTER_AT}",
    rf"{_BEFORE_AT}@{_AFTER_AT}",
    rf"[a-zA-Z\.\:\-\_]*\d[a-zA-Z0-9\.\:\-\_{_LIVE}{_DEAD}]*",
)
ALTERNATION = "|".join(RULES)


def mask_messages(contents: pa.StringArray) -> pa.StringArray:
    """The masked text of each message (latin-1 characters), in linear time."""
    contents = pc.replace_substring_regex(contents, *DOTS)
    is_special = pc.or_(
        pc.invert(pc.string_is_ascii(contents)),
        pc.greater(pc.binary_length(contents), LONG_RUN),
    )
    if not pc.any(is_special).as_py():
        return pc.replace_substring_regex(contents, ALTERNATION, MASK)
    usual = pc.if_else(is_special, "", contents)
    masked = pc.replace_substring_regex(usual, ALTERNATION, MASK)
    return pc.replace_with_mask(masked, is_special, _mask_with_marks(contents.filter(is_special)))


# Where RE2 sees another word boundary than Python does. What stands between them comes in here.
_BOUNDARIES = (
    # "Mondayé" is one word: an underscore after "Monday" takes the boundary away.
    (rf"([0-9A-Za-z_{_SPACE}])([{_BEYOND}])", rf"\1_{_DEAD}\2"),  # "Jan 12 é": it gives one
    (rf"([{_BEYOND}])([0-9A-Za-z_])", rf"\1{_DEAD}_\2"),
)
# The underscore before a word must not be taken for its first letter: matched, it stays.
_ALTERNATION_WITH_MARKS = f"({_MARK}_)|{ALTERNATION}"
_UNMARK = rf"{_MARK}_<\*>|_?{_MARK}"
# Runs that a search may cross in vain, again and again, for an @, a slash or a digit behind them.
# The group tells whether it is there. Possessive: linear in Python's engine too.
_BEFORE = (
    re.compile(rf"[\w.{_DEAD}]++(?=(@\w)?)"),
    re.compile(rf"[A-Za-z0-9{_DEAD}]++(?=([:.{_DEAD}]*+[/\\]++[^/\\\s\[\]])?)"),
)
_BEFORE_DIGIT = re.compile(r"[A-Za-z.:_-]++(?=(\d)?)")
_LONG_WORD = re.compile(r"[A-Za-z_]++")
# Where a long word can be cut: not inside True, true, False or false.
_INSIDE_WORD = re.compile(r"(?<=[A-Za-z])(?=[A-Za-z])(?![rueals])")
_BEHIND_SIGN = re.compile(r"(?<=[.:-])(?=[A-Za-z])")


def _mask_with_marks(contents: pa.StringArray) -> pa.StringArray:
    r"""Masks of messages that are beyond ASCII or very long, by the same rules.

    Between a word character beyond ASCII and one within, Python's `\b` sees no boundary, RE2's
    does. An underscore and a mark are put there, which ends RE2's boundary and is taken out again.

    A mark is also put, now and then, into a long run of letters that no digit ends. It keeps the
    search for a digit from crossing the run again after each match in it. In the same way a mark
    ends the search for an @ or a slash, unless it is live: where that does come.
    """
    for pattern, replacement in _BOUNDARIES:
        contents = pc.replace_substring_regex(contents, pattern, replacement)
    has_at = pc.and_(pc.match_substring(contents, "@"), pc.match_substring(contents, _DEAD))
    is_wanted = pc.or_(has_at, pc.greater(pc.binary_length(contents), LONG_RUN))
    if pc.any(is_wanted).as_py():
        marked = [_with_more_marks(text) for text in contents.filter(is_wanted).to_pylist()]
        contents = pc.replace_with_mask(contents, is_wanted, pa.array(marked, pa.string()))
    masked = pc.replace_substring_regex(contents, _ALTERNATION_WITH_MARKS, rf"\1{MASK}")
    return pc.replace_substring_regex(masked, _UNMARK, "")


def _with_more_marks(text: str) -> str:
    if len(text) > LONG_RUN:
        text = _BEFORE_DIGIT.sub(_break_run, text)
    for run in _BEFORE:
        text = run.sub(_enliven, text)
    return text


def _enliven(run: re.Match[str]) -> str:
    return run[0].replace(_DEAD, _LIVE) if run[1] else run[0]


def _break_run(run: re.Match[str]) -> str:
    """Put marks into a long run that no digit ends: behind its signs, and inside long words.

    Words of the rules end at signs, so a mark behind one changes none; addresses allow for it.
    """
    text = run[0]
    if len(text) <= LONG_RUN or run[1]:
        return text
    end = len(text) - MARGIN  # a month, say, may go on behind the run
    broken = _LONG_WORD.sub(_break_word, text[:end])
    return _BEHIND_SIGN.sub(_DEAD, broken) + text[end:]


def _break_word(word: re.Match[str]) -> str:
    """Cut far from both ends: what is no word of the rules stays none where it is cut."""
    text = word[0]
    pieces = []
    begin = 0
    while len(text) - begin > LONG_RUN:
        inside = _INSIDE_WORD.search(text, begin + LONG_RUN // 2, len(text) - MARGIN)
        if inside is None:
            break
        pieces.append(text[begin : inside.start()])
        begin = inside.start()
    return _DEAD.join([*pieces, text[begin:]])
