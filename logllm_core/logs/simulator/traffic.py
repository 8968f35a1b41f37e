"""Which messages follow one another: everyday lines, and episodes among them.

What makes real logs hard is decided here: alerts as bursts and as single lines, episodes whose
order alone tells a failure from a recovery, new wordings and new messages after the split.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from logllm_core.logs.simulator.line_fragments import Ints, between, expand, pick, shares

EVENTS_PER_BATCH = 100_000  # bounds memory; part of what a seed means
NORMAL = "-"
_OPEN = -1  # an everyday line that is still to be drawn


class Ordinary(NamedTuple):
    """A message of everyday operation."""

    weight: float
    source: str  # who says it: a component and a level, or a kind of host
    text: str
    later: str = ""  # its wording after the split, where that changes
    is_new: bool = False  # appears only after the split


class Line(NamedTuple):
    tag: str
    source: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """Lines that come together, in order."""

    weight: float
    lines: tuple[Line, ...]
    repeats: tuple[int, int] = (1, 1)  # the whole, as often as drawn from this range
    gap: int = 0  # at most so many ordinary lines before each line
    is_new: bool = False  # appears only after the split


class Traffic:
    """Draws templates, numbered as in `lines`."""

    def __init__(
        self,
        ordinary: tuple[Ordinary, ...],
        episodes: tuple[Episode, ...],
        episodes_per_line: float,
    ) -> None:
        self.lines = [
            *(Line(NORMAL, row.source, row.text) for row in ordinary),
            *(Line(NORMAL, row.source, row.later or row.text) for row in ordinary),
            *(line for row in episodes for line in row.lines),
        ]
        self._num_ordinary = len(ordinary)
        self._ordinary_shares = [
            shares([row.weight * (is_late or not row.is_new) for row in ordinary])
            for is_late in (False, True)
        ]
        self._event_shares = []
        for is_late in (False, True):
            weights = [row.weight * (is_late or not row.is_new) for row in episodes]
            everyday = sum(weights) * (1 / episodes_per_line - 1)
            self._event_shares.append(shares([everyday, *weights]))
        # Row 0 of the events is one everyday line, the others are the episodes.
        self._lengths = np.array([1, *(len(row.lines) for row in episodes)])
        self._templates = np.concatenate(
            [[_OPEN], np.arange(2 * self._num_ordinary, len(self.lines))]
        )
        self._firsts = np.cumsum(self._lengths) - self._lengths
        self._repeats = np.array([(1, 1), *(row.repeats for row in episodes)])
        self._gaps = np.array([(0, 0), *((0, row.gap) for row in episodes)])

    def batches(
        self, num_lines: int, first_late: float, rng: np.random.Generator
    ) -> Iterator[Ints]:
        """Templates of exactly `num_lines` lines; what is new begins with line `first_late`."""
        split = math.ceil(first_late)
        written = 0
        while written < num_lines:
            is_late = written >= split
            most = (num_lines if is_late else min(split, num_lines)) - written
            templates_L = self._events(min(EVENTS_PER_BATCH, most), most, is_late, rng)
            templates_L = templates_L[: num_lines - written]
            self._draw_ordinary(templates_L, split - written, rng)
            yield templates_L
            written += len(templates_L)

    def _events(self, count: int, most: int, is_late: bool, rng: np.random.Generator) -> Ints:
        """Whole events until `most` lines are reached; an episode may run beyond them."""
        rows = pick(self._event_shares[is_late], count, rng)
        lengths = self._lengths[rows]
        counts = lengths * between(self._repeats[rows], rng)
        # A member is a line of an episode with the everyday lines that precede it.
        events, members = expand(counts)
        lengths, rows = lengths[events], rows[events]
        gaps = between(self._gaps[rows], rng)
        member_ends = np.cumsum(1 + gaps)
        templates_L = np.full(member_ends[-1], _OPEN)
        templates_L[member_ends - 1] = self._templates[self._firsts[rows] + members % lengths]
        event_ends = member_ends[np.cumsum(counts) - 1]
        last = min(int(np.searchsorted(event_ends, most)), count - 1)
        return templates_L[: event_ends[last]]

    def _draw_ordinary(self, templates_L: Ints, split: int, rng: np.random.Generator) -> None:
        rows = np.flatnonzero(templates_L == _OPEN)
        num_early = int(np.searchsorted(rows, split))
        early, late = self._ordinary_shares
        templates_L[rows[:num_early]] = pick(early, num_early, rng)
        templates_L[rows[num_early:]] = self._num_ordinary + pick(late, len(rows) - num_early, rng)
