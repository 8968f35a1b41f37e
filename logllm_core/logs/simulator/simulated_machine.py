"""A supercomputer's log: alert tags, times, hosts, and messages of everyday operation."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from logllm_core.logs.simulator.clock import SECOND
from logllm_core.logs.simulator.line_fragments import HOLE, Ints, Patterns, Sheet, Span, TextPieces
from logllm_core.logs.simulator.traffic import NORMAL, Episode, Line, Ordinary, Traffic

ODD_BYTES = " \xe9\xff\x00\x85"  # not UTF-8
Slots = dict[str, tuple[Iterable[str], ...]]  # a slot's pieces: one of each of these


class Batch(NamedTuple):
    """Consecutive lines of the log, and what is true of them."""

    text: memoryview
    num_lines: int
    counts: Counter[str]  # added up over the log
    alerts: Counter[str]
    labels: memoryview | bytes = b""  # rows of the label file


class Head(NamedTuple):
    """What stands before the content."""

    num_pieces: int
    hosts: dict[str, Span]  # by the message's source
    fill: Callable[[Sheet, Ints, Ints], None]  # given each line's time and host


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A shape of log, as a row of numbers and tables."""

    ordinary: tuple[Ordinary, ...]
    episodes: tuple[Episode, ...]
    episodes_per_line: float
    start_seconds: int
    mean_gap_seconds: float
    no_content_fraction: float  # of the normal lines
    odd_bytes_fraction: float
    slots: Callable[[], Slots]
    head: Callable[[TextPieces], Head]
    prefix: Callable[[str], str]  # of a source: what stands between head and text

    def batches(
        self, num_lines: int, first_late: float, rng: np.random.Generator
    ) -> Iterator[Batch]:
        """The whole log, a batch of lines at a time; memory is bounded by one of them."""
        traffic = Traffic(self.ordinary, self.episodes, self.episodes_per_line)
        pieces = TextPieces()
        head, odd_end = self.head(pieces), pieces.add([ODD_BYTES + "\n"])
        patterns = self._patterns(pieces, head, traffic.lines)
        tags, tag_rows = np.unique([line.tag for line in traffic.lines], return_inverse=True)
        is_normal = tags[tag_rows] == NORMAL
        hosts = np.array([head.hosts[line.source] for line in traffic.lines])
        now = self.start_seconds * SECOND
        for templates_L in traffic.batches(num_lines, first_late, rng):
            num_drawn = len(templates_L)
            gaps_L = rng.exponential(self.mean_gap_seconds * SECOND, num_drawn).astype(np.int64)
            times_L = now + np.cumsum(gaps_L)
            now = int(times_L[-1])
            chance_L = rng.random(num_drawn)
            is_bare_L = (chance_L < self.no_content_fraction) & is_normal[templates_L]
            sheet = Sheet(patterns, templates_L + is_bare_L * len(traffic.lines), rng)
            sheet.end((chance_L > 1 - self.odd_bytes_fraction) & ~is_bare_L, odd_end)
            first_L, size_L = hosts[templates_L].T
            hosts_L = first_L + (rng.random(num_drawn) * size_L).astype(np.int64)
            head.fill(sheet, times_L, hosts_L)
            counts = np.bincount(tag_rows[templates_L], minlength=len(tags))
            alerts = Counter(dict(zip(tags.tolist(), counts.tolist(), strict=True)))
            del alerts[NORMAL]
            yield Batch(
                text=sheet.text(),
                num_lines=num_drawn,
                counts=Counter(num_unparsable_lines=int(is_bare_L.sum())),
                alerts=+alerts,
            )

    def _patterns(self, pieces: TextPieces, head: Head, lines: list[Line]) -> Patterns:
        """A pattern a line with its content; then, in the same order, without."""
        slots = {
            name: tuple(pieces.add(pool) for pool in pools) for name, pools in self.slots().items()
        }
        end = pieces.add(["\n"])
        holes = [HOLE] * head.num_pieces
        tags = {tag: pieces.add([f"{tag} "]) for tag in dict.fromkeys(line.tag for line in lines)}
        full, bare = (
            [
                [
                    tags[line.tag],
                    *holes,
                    *pieces.pattern(f"{self.prefix(line.source)}{content}", slots),
                    end,
                ]
                for line, content in zip(lines, contents, strict=True)
            ]
            for contents in ([f" {line.text}" for line in lines], [""] * len(lines))
        )
        return Patterns(pieces, [*full, *bare])
