"""Bytes that logs and settings should not hold, and do."""

from collections.abc import Sequence
from random import Random

SPACES = (b" ", b"  ", b"\t", b"\x0b", b"\x0c", b"\x1c", b"\x1f", b"\x85", b"\xa0")
ENDS = (b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\r\r\n", b"\n\r")
# What the masking's rules and the readers of times look at, whole, cut short and put together.
WORDS = (
    *(
        b"True",
        b"false",
        b"Falsehood",
        b"seven",
        b"seventeen",
        b"Thu",
        b"Monday",
        b"Jan 12 ",
        b"May",
    ),
    *(b"10.0.0.1", b"1.2.3.4:80", b"1.2.3", b"01:23:45:67:89:ab", b"ab" * 4, b"0123456789"),
    *(
        b"/var/log/x.log",
        b"C:\\temp\\x",
        b"//",
        b"\\",
        b"a/b",
        b"...",
        b"....",
        b".",
        b":",
        b"-",
        b"_",
    ),
    *(b"a@b", b"user@host-1.x", b"@", b"@-", b"blk_-1608999687919862906", b"blk_7", b"blk_", b"x1"),
    *(b"1117838570", b"99999999999", b"999999999999", b"-1", b"1e9", b"0", b"00000000000"),
    *(b"2005-06-03", b"2005-06-03T15:42:50.363779Z", b"081109", b"203615", b"9999-12-31T23:59:59"),
    *(b"INFO", b"KERNDTLB", b"-", b"[", b"]", b"[x]", b"(", b"#", b"<*>", b"<script>", b'"', b"'"),
    *(b"\0", b"\x1b[31m", b"\x7f", b"\xe9", b"\xff", b"\xc3\xa9", b"\xf0\x9f\x98\x80", b"caf\xe9"),
    *(b"\xe9Monday", b"Monday\xe9", b"x" * 70, b"1" * 70, b"a.b:" * 12, b"A" * 9),
)


def line(random: Random, samples: Sequence[bytes]) -> bytes:
    """A line without its end: a sample with some bytes changed, or words in any order."""
    kind = random.random()
    if kind < 0.15:
        return random.choice(samples)
    if kind < 0.65:
        return changed(random, random.choice(samples))
    if kind < 0.97:
        parts = random.choices(WORDS, k=random.randrange(14))
        gaps = random.choices((*SPACES, b" ", b" ", b" ", b""), k=len(parts))
        return b"".join(part for pair in zip(parts, gaps, strict=True) for part in pair)
    return random.randbytes(random.randrange(60))


def changed(random: Random, text: bytes) -> bytes:
    """The text after a few cuts, insertions and repetitions."""
    for _ in range(random.randint(1, 3)):
        start = random.randrange(len(text) + 1)
        stop = min(len(text), start + random.choice((0, 0, 1, 1, 2, 8)))
        piece = random.choice(
            (b"", random.choice(WORDS), random.choice(SPACES), text[start:stop] * 3)
        )
        text = text[:start] + piece + text[stop:]
    return text[:400]


def log(random: Random, samples: Sequence[bytes], num_lines: int) -> bytes:
    """Lines with ends of any kind, the last one's perhaps missing."""
    lines = [line(random, samples) + random.choice(ENDS) for _ in range(num_lines)]
    whole = b"".join(lines)
    return whole.rstrip(b"\r\n") if random.random() < 0.2 else whole
