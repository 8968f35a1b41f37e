"""What the model is measured on: windows of logs, made by the core, the same in every process."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.simulator.writing import Shape
from logllm_core.logs.windows.window_artifact import Windows, build_windows, read_windows
from logllm_core.store.store import Artifact, Store
from tests.logs.samples import messages_of, published

SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is measured."""

    num_lines: dict[Shape, int]  # of the simulated logs
    num_messages: int  # of a window of BGL's shape
    num_windows: int  # of a training step
    num_steps: int  # after a first one that warms up
    num_plain_steps: int
    num_sessions: int
    num_distinct_sessions: int  # of these; 5 %, as in HDFS
    num_plain_sessions: int  # the slice that the plain way scores
    num_runs: int  # of scoring, of which the middle one is given


SCALES = {
    "full": Scale(
        num_lines={"bgl": 100_000, "hdfs": 200_000},
        num_messages=100,
        num_windows=16,
        num_steps=5,
        num_plain_steps=2,
        num_sessions=20_000,
        num_distinct_sessions=1_000,
        num_plain_sessions=64,
        num_runs=3,
    ),
    "quick": Scale(
        num_lines={"bgl": 2_000, "hdfs": 4_000},
        num_messages=4,
        num_windows=2,
        num_steps=1,
        num_plain_steps=1,
        num_sessions=200,
        num_distinct_sessions=10,
        num_plain_sessions=2,
        num_runs=1,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A log as the model takes it."""

    dataset: Dataset
    messages: Artifact
    windows: Artifact

    @property
    def texts(self) -> list[str]:
        return read_vocabulary(self.messages)

    @property
    def train(self) -> Windows:
        return read_windows(self.windows, "train")

    @property
    def test(self) -> Windows:
        return read_windows(self.windows, "test")


def simulated(store: Store, shape: Shape, num_lines: int, **changes: Any) -> Prepared:
    """A log of that shape, read as the published one, but for what is changed."""
    source = {"kind": "simulator", "shape": shape, "num_lines": num_lines, "seed": SEED}
    values = published(shape).model_dump() | {"source": source} | changes
    return _prepared(store, Dataset.parse(values, origin="the benchmark"))


def bgl_windows(store: Store, scale: Scale) -> Prepared:
    """Consecutive windows of kept lines of BGL's shape."""
    length = {"kind": "count", "length": scale.num_messages}
    return simulated(store, "bgl", scale.num_lines["bgl"], windows=length)


def hdfs_sample(store: Store, mirror: Path) -> Prepared:
    """The sessions of the archive that `mirror` holds."""
    return _prepared(store, published("hdfs"), mirror)


def _prepared(store: Store, dataset: Dataset, mirror: Path | None = None) -> Prepared:
    messages = messages_of(store, dataset, mirror=mirror)
    windows = build_windows(store, dataset, messages, validation_fraction=0)
    return Prepared(dataset=dataset, messages=messages, windows=windows)


def repeating(found: Windows, scale: Scale) -> list[tuple[int, ...]]:
    """Sessions of which exactly so many are distinct, as unevenly spread as those found."""
    dice = random.Random(SEED)
    sequences = sorted(set(found.message_ids))
    assert len(sequences) >= scale.num_distinct_sessions, f"only {len(sequences)} distinct sessions"
    chosen = dice.sample(sequences, scale.num_distinct_sessions)
    counts = dict.fromkeys(chosen, 0)
    for ids in found.message_ids:
        counts[ids] = counts.get(ids, 0) + 1
    weights = [counts[ids] for ids in chosen]
    more = scale.num_sessions - len(chosen)
    sessions = chosen + dice.choices(chosen, weights=weights, k=more)
    dice.shuffle(sessions)
    return sessions
