"""Sessions in the shape of HDFS's: many blocks are written, read and deleted at the same time.

As in HDFS there are 19 lines a session, 3 % of the sessions are anomalous, and their sequences of
messages repeat: 16 % of 10,000 sequences are distinct, 5 % of half a million.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from logllm_core.logs.simulator import clock
from logllm_core.logs.simulator.hdfs_tables import REST, SESSION_KINDS
from logllm_core.logs.simulator.line_fragments import (
    HOLE,
    Floats,
    Ints,
    Patterns,
    Sheet,
    Span,
    TextPieces,
    between,
    expand,
    joined,
    pick,
    shares,
)
from logllm_core.logs.simulator.simulated_machine import Batch

SESSIONS_PER_BATCH = 6_000  # bounds memory; part of what a seed means
START_SECONDS = 1_226_262_930
MEAN_GAP_SECONDS = 0.24  # between the starts of sessions
# How far lines stray from their order: little in most sessions, much in some.
MEDIAN_DISORDER_SECONDS = 0.2
DISORDER_SIGMA = 2.4
MAX_DISORDER_SECONDS = 20.0  # so that no normal block is deleted before it is stored
_BLOCK, _BLOCK_BEFORE, _BLOCK_BEFORE_THAT = (Span(-2), Span(-3), Span(-4))


class _Lines(NamedTuple):
    """Lines that are not written yet."""

    times: Ints
    messages: Ints
    sessions: Ints

    def take(self, which: Ints | slice) -> "_Lines":
        return _Lines(*(column[which] for column in self))


class _Sessions(NamedTuple):
    """Sessions that begin one after the other."""

    kinds: Ints
    owners: Ints  # of each step
    steps: Ints
    repeats: Ints


class _Tables:
    """The kinds of sessions as arrays; the last step is `REST`, and the last kind has only it."""

    def __init__(self) -> None:
        steps = [step for kind in SESSION_KINDS for step in kind.steps] + [REST]
        self.num_steps = np.array([*(len(kind.steps) for kind in SESSION_KINDS), 1])
        self.first_steps = np.cumsum(self.num_steps) - self.num_steps
        self.is_anomalous = np.array([*(kind.is_anomalous for kind in SESSION_KINDS), False])
        self.shares = [
            shares([kind.weight * (is_late or not kind.is_new) for kind in SESSION_KINDS])
            for is_late in (False, True)
        ]
        self.texts = list(dict.fromkeys(step.text for step in steps))
        self.messages = np.array([self.texts.index(step.text) for step in steps])
        self.after = np.array([step.after_seconds for step in steps])
        self.spread = np.array([step.spread_seconds for step in steps])
        self.repeats = np.array([step.repeats for step in steps])

    def draw(self, count: int, is_late: bool, rng: np.random.Generator) -> _Sessions:
        kinds = pick(self.shares[is_late], count, rng)
        owners, positions = expand(self.num_steps[kinds])
        steps = self.first_steps[kinds][owners] + positions
        return _Sessions(kinds, owners, steps, between(self.repeats[steps], rng))

    def rest(self, sessions: _Sessions, num_lines: int) -> _Sessions:
        """The same sessions and one more, of exactly so many lines."""
        more = ([len(SESSION_KINDS)], [len(sessions.kinds)], [len(self.after) - 1], [num_lines])
        return _Sessions(*(np.append(*both) for both in zip(sessions, more, strict=True)))


def batches(num_lines: int, first_late: float, rng: np.random.Generator) -> Iterator[Batch]:
    """The whole log, a batch of sessions at a time.

    Memory is bounded by a batch and the lines of the sessions that have not ended.
    """
    tables = _Tables()
    paper = _Paper(tables.texts, key=int(rng.integers(1 << 63)))
    now = float(START_SECONDS)
    first = 0
    held = _Lines(*(np.empty(0, dtype=np.int64) for _ in range(3)))
    for sessions in _sessions(tables, num_lines, first_late, rng):
        num_sessions = len(sessions.kinds)
        starts = now + np.cumsum(rng.exponential(MEAN_GAP_SECONDS, num_sessions))
        now = starts[-1]
        drawn = _lines(tables, sessions, starts, first, rng)
        lines = _Lines(*(np.concatenate(both) for both in zip(held, drawn, strict=True)))
        lines = lines.take(np.argsort(lines.times, kind="stable"))
        # No later session can come before the start of this batch's last one.
        cut = int(np.searchsorted(lines.times, int(now * clock.SECOND)))
        held = lines.take(slice(cut, None))
        is_anomalous = tables.is_anomalous[sessions.kinds]
        yield Batch(
            text=paper.text(lines.take(slice(cut)), rng),
            num_lines=cut,
            counts=Counter(
                num_sessions=num_sessions, num_anomalous_sessions=int(is_anomalous.sum())
            ),
            alerts=Counter(),
            labels=paper.labels(np.arange(first, first + num_sessions), is_anomalous),
        )
        first += num_sessions
    yield Batch(paper.text(held, rng), len(held.times), Counter(), Counter())


def _sessions(
    tables: _Tables, num_lines: int, first_late: float, rng: np.random.Generator
) -> Iterator[_Sessions]:
    """Sessions of `num_lines` lines together."""
    drawn = 0
    while drawn < num_lines:
        is_late = drawn >= first_late
        sessions = tables.draw(SESSIONS_PER_BATCH, is_late, rng)
        num_lines_of = np.bincount(sessions.owners, sessions.repeats).astype(np.int64)
        ends = drawn + np.cumsum(num_lines_of)
        count = int(np.searchsorted(ends, num_lines, side="right"))
        is_last = count < len(ends)
        if not is_late:
            before_split = int(np.searchsorted(ends - num_lines_of, first_late))
            is_last &= count <= before_split
            count = min(count, before_split)
        drawn = int(ends[count - 1]) if count else drawn
        of_these = slice(int(np.searchsorted(sessions.owners, count)))
        sessions = _Sessions(sessions.kinds[:count], *(column[of_these] for column in sessions[1:]))
        if is_last and drawn < num_lines:
            sessions = tables.rest(sessions, num_lines - drawn)
            drawn = num_lines
        yield sessions


def _lines(
    tables: _Tables, sessions: _Sessions, starts: Floats, first: int, rng: np.random.Generator
) -> _Lines:
    """All lines of the sessions, in no order."""
    rows, _ = expand(sessions.repeats)
    steps, owners = sessions.steps[rows], sessions.owners[rows]
    disorder = MEDIAN_DISORDER_SECONDS * rng.lognormal(0, DISORDER_SIGMA, len(starts))
    disorder = np.minimum(disorder, MAX_DISORDER_SECONDS)
    times = starts[owners] + tables.after[steps]
    times += tables.spread[steps] * rng.random(len(steps))
    times += disorder[owners] * rng.random(len(steps))
    return _Lines((times * clock.SECOND).astype(np.int64), tables.messages[steps], first + owners)


class _Paper:
    """Renders lines and labels."""

    def __init__(self, texts: list[str], key: int) -> None:
        self._key = key
        pieces = TextPieces()
        slots = {name: tuple(pieces.add(pool) for pool in pools) for name, pools in _slots()}
        slots |= {"b": (_BLOCK,), "o": (_BLOCK_BEFORE,), "u": (_BLOCK_BEFORE_THAT,)}
        self._time_of_day = clock.seconds_of_day(pieces, "", " ")
        process = pieces.add(f"{number} " for number in range(1, 4_000))
        end = pieces.add(["\n"])
        self._patterns = Patterns(
            pieces, [[HOLE, HOLE, process, *pieces.pattern(text, slots), end] for text in texts]
        )
        self._num_blocks = np.array([text.count("{b}") for text in texts])
        self._names_others = np.array(["{o}" in text for text in texts])

    def text(self, lines: _Lines, rng: np.random.Generator) -> memoryview:
        if not len(lines.times):
            return memoryview(b"")
        sheet = Sheet(self._patterns, lines.messages, rng)
        seconds_L = lines.times // clock.SECOND
        clock.fill_day(sheet, 0, seconds_L, _date)
        sheet.fill(1, self._time_of_day.first + seconds_L % clock.DAY_SECONDS)
        first = sheet.add(self._blocks(lines.sessions))
        owners, _ = expand(self._num_blocks[lines.messages])
        sheet.fill_holes(_BLOCK, first + owners)
        others = lines.sessions[self._names_others[lines.messages]]
        for hole, distance in ((_BLOCK_BEFORE, 1), (_BLOCK_BEFORE_THAT, 2)):
            first = sheet.add(self._blocks(np.maximum(others - distance, 0)))
            sheet.fill_holes(hole, first + np.arange(len(others)))
        return sheet.text()

    def labels(self, sessions: Ints, is_anomalous: NDArray[np.bool_]) -> memoryview:
        """Rows of the label file."""
        rows = pc.binary_join_element_wise(
            "blk_",
            self._blocks(sessions).cast(pa.string()),
            pc.if_else(pa.array(is_anomalous), ",Anomaly\n", ",Normal\n"),
            "",
        )
        return joined(rows)

    def _blocks(self, sessions: Ints) -> pa.Array:
        """A number a session, each another one: every step can be undone (splitmix64)."""
        mixed = sessions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(self._key)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return pa.array(mixed.view(np.int64)).cast(pa.string()).cast(pa.binary())


def _slots() -> Iterable[tuple[str, tuple[Iterable[str], ...]]]:
    nodes = [
        f"10.{high}.{low}.{end}"
        for high in (250, 251)
        for low in range(10)
        for end in range(10, 20)
    ]
    tasks = (f"_task_200811092030_0001_m_{n:06d}_0/part-{n:05d}." for n in range(2_000))
    sizes = [str(number) for number in range(3_540_000, 3_545_000, 5)]
    return {
        "i": (nodes,),
        "p": ((f":{port}" for port in range(32_768, 61_000)),),
        "d": ("012",),
        "n": ((str(number) for number in range(400_000, 480_000, 80)),),
        "z": (["67108864"] * 2_000 + sizes,),
        "k": (("rand", "rand2", "rand5", "randtxt", "randtxt3", "sortrand"),),
        "t": ((f"_temporary/{task}" for task in tasks),),
        "f": ((f"/mnt/hadoop/dfs/data/current/subdir{number}" for number in range(64)),),
    }.items()


def _date(day: datetime) -> str:
    return f"{day:%y%m%d} "
