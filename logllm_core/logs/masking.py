"""Masking: the variable parts of a message become `<*>` (paper, section IV-A).

Runs of dots are shortened first. Then ONE pass of one ordered alternation replaces every match;
masking rule by rule would differ (`node-1.2.3.4:80` is `<*>` in one pass, `node-<*>` rule by rule).
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

VERSION = 1  # raise when a message would be masked differently
MASK = "<*>"
DOTS = (r"\.{3,}", ".. ")
RULES = (
    r"True|true|False|false",
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen"
    r"|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundred|thousand|million|billion)\b",
    r"\b(?:Mon|Monday|Tue|Tuesday|Wed|Wednesday|Thu|Thursday|Fri|Friday|Sat|Saturday|Sun|Sunday)\b",
    r"\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|Jun(?:e)?|Jul(?:y)?|Aug(?:ust)?"
    r"|Sep(?:tember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\s+\d{1,2}\s+\b",
    r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?",
    r"(?:[0-9A-Fa-f]{2}:){11}[0-9A-Fa-f]{2}",
    r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}",
    r"[a-zA-Z0-9]*[:\.]*(?:[/\\]+[^/\\\s\[\]]+)+[/\\]*",
    r"\b[0-9a-fA-F]{8}\b",
    r"\b[0-9a-fA-F]{10}\b",
    r"\w+[\w\.]*@\w+[\w\.]*\-\w+[\w\.]*",
    r"\w+[\w\.]*@\w+[\w\.]*",
    r"[a-zA-Z\.\:\-\_]*\d[a-zA-Z0-9\.\:\-\_]*",
)
ALTERNATION = "|".join(RULES)
# RE2 knows \w, \s and \b for ASCII only, and its \s leaves out \v and \x1c-\x1f. Where a message
# holds any other character, Python's engine masks it, whose classes are the reference's.
_BEYOND_RE2 = r"[^\t\n\f\r -~]"
# The same rule with a possessive quantifier (`@` is no sign of the class): no cubic backtracking.
_PYTHON_RULES = re.compile(ALTERNATION.replace(r"\w+[\w\.]*@", r"\w[\w\.]*+@"))


def mask_messages(contents: pa.StringArray) -> pa.StringArray:
    """The masked text of each message, in linear time for ASCII messages."""
    shortened = pc.replace_substring_regex(contents, *DOTS)
    masked = pc.replace_substring_regex(shortened, ALTERNATION, MASK)
    is_beyond = pc.match_substring_regex(contents, _BEYOND_RE2)
    if not pc.any(is_beyond).as_py():
        return masked
    slow = pa.array([mask_message(text) for text in contents.filter(is_beyond).to_pylist()])
    return pc.replace_with_mask(masked, is_beyond, slow)


def mask_message(content: str) -> str:
    """The rules in Python's engine; the definition, and slow."""
    return _PYTHON_RULES.sub(MASK, re.sub(*DOTS, content))
