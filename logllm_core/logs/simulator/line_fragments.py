"""Lines as numbers of pieces: how a log is written faster than Python can name its lines.

Every text that lines are made of is kept once, in one array. A line is the numbers of its pieces,
and gathering the pieces of all lines in order gives the bytes of the file: there is no object a
line, and nothing is joined.

Arrays are named by what they number: `*_L` one entry a line, `*_P` one a piece of a line.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_SLOT = re.compile(r"\{([a-z]+)\}")


class Span(NamedTuple):
    """Consecutive pieces, one of which is drawn, each as likely as the others."""

    first: int
    size: int = 1


HOLE = Span(-1)  # filled by the batch, as time and host are


class TextPieces:
    """All texts that lines are made of, numbered as they are added."""

    def __init__(self) -> None:
        self._texts: list[bytes] = []

    def add(self, texts: Iterable[str]) -> Span:
        first = len(self._texts)
        self._texts.extend(text.encode("latin-1") for text in texts)
        return Span(first, len(self._texts) - first)

    def pattern(self, text: str, slots: dict[str, tuple[Span, ...]]) -> list[Span]:
        """The pieces of a template such as `generating core.{n}`."""
        spans: list[Span] = []
        for number, part in enumerate(_SLOT.split(text)):
            if number % 2:
                spans.extend(slots[part])
            elif part:
                spans.append(self.add([part]))
        return spans

    def array(self) -> Any:
        return pa.array(self._texts, pa.binary())


class Patterns:
    """What each template's lines consist of, ready for drawing many at a time."""

    def __init__(self, pieces: TextPieces, patterns: Sequence[Sequence[Span]]) -> None:
        self.texts = pieces.array()
        spans = [span for pattern in patterns for span in pattern]
        self.lengths = np.array([len(pattern) for pattern in patterns])
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.firsts = np.array([span.first for span in spans], dtype=np.int32)
        # Single precision is exact enough: a draw below 1 times a whole number below 2^24 stays
        # below that number.
        self.sizes = np.array([span.size for span in spans], dtype=np.float32)
        assert self.sizes.max() < 1 << 24


class Sheet:
    """The lines of one batch, their pieces drawn, their holes to be filled."""

    def __init__(self, patterns: Patterns, templates_L: Ints, rng: np.random.Generator) -> None:
        lengths_L = patterns.lengths[templates_L]
        self.ends_L = np.cumsum(lengths_L)
        self.starts_L = self.ends_L - lengths_L
        entries_P = np.repeat(patterns.starts[templates_L] - self.starts_L, lengths_L)
        entries_P += np.arange(len(entries_P))
        draws_P = rng.random(len(entries_P), dtype=np.float32)
        draws_P *= patterns.sizes[entries_P]
        self._numbers_P = draws_P.astype(np.int32)
        self._numbers_P += patterns.firsts[entries_P]
        self._texts = [patterns.texts]
        self._num_texts = len(patterns.texts)

    def add(self, texts: Any) -> int:
        """Add texts, a list or an Arrow array, for this batch alone: the number of their first."""
        first = self._num_texts
        self._texts.append(pa.array(texts, pa.binary()) if isinstance(texts, list) else texts)
        self._num_texts += len(texts)
        return first

    def fill(self, position: int, numbers_L: Ints) -> None:
        """Set the piece at a position counted from each line's start."""
        self._numbers_P[self.starts_L + position] = numbers_L

    def fill_holes(self, hole: Span, numbers: Ints) -> None:
        """Set all holes of a kind, in the order of the lines."""
        self._numbers_P[self._numbers_P == hole.first] = numbers

    def end(self, lines: NDArray[np.bool_], piece: Span) -> None:
        """Let some of the lines end with another piece."""
        self._numbers_P[self.ends_L[lines] - 1] = piece.first

    def text(self) -> memoryview:
        """The bytes of all lines."""
        return joined(pa.concat_arrays(self._texts).take(pa.array(self._numbers_P)))


def joined(texts: Any) -> memoryview:
    """Texts that were just computed, one after the other, without a copy."""
    _, ends, content = texts.buffers()
    return memoryview(content)[: np.frombuffer(ends, dtype=np.int32)[len(texts)]]


def expand(counts: Ints) -> tuple[Ints, Ints]:
    """Whose each of `sum(counts)` members is, and its position among those of its owner."""
    owners = np.repeat(np.arange(len(counts)), counts)
    return owners, np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)


def shares(weights: Sequence[float]) -> Floats:
    """Running shares of the weights, for `pick`; the last is 1."""
    running: Floats = np.cumsum(weights, dtype=np.float64)
    running /= running[-1]
    return running


def pick(running: Floats, count: int, rng: np.random.Generator) -> Ints:
    """Draw rows by their running shares."""
    return np.searchsorted(running, rng.random(count), side="right")


def between(low_high: Ints, rng: np.random.Generator) -> Ints:
    """A whole number a row, from its low to its high, both included."""
    low, high = low_high.T
    drawn: Ints = low + (rng.random(len(low_high)) * (high - low + 1)).astype(np.int64)
    return drawn
