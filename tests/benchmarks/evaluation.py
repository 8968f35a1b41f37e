"""Seconds that the detectors beside the model and the intervals take on windows of a log's size.

`python -m tests.benchmarks.evaluation` draws windows with as many windows, distinct sequences and
messages as HDFS and BGL have, and labels by their content; it prints a row a step.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from logllm_core.evaluation.measures.baselines import BASELINES, fit_baselines
from logllm_core.evaluation.measures.intervals import intervals
from logllm_core.evaluation.measures.metrics import Scores
from logllm_core.evaluation.measures.training_bags import Evidence
from logllm_core.logs.windows.window_artifact import Windows

Out = TypeVar("Out")
ENCODER_WIDTH = 384


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    num_train: int
    num_test: int
    num_distinct: int  # sequences
    length: int
    num_messages: int


SIZES = {
    "hdfs": Size(
        num_train=460_000, num_test=115_000, num_distinct=27_000, length=20, num_messages=50
    ),
    "bgl": Size(
        num_train=38_000, num_test=9_400, num_distinct=47_400, length=100, num_messages=1_000
    ),
}


def drawn(size: Size) -> tuple[Windows, Windows]:
    """Training and test windows; frequent messages are much more frequent than rare ones."""
    generator = np.random.default_rng(0)
    chances = 1 / np.arange(1, size.num_messages + 1) ** 1.2
    shape = (size.num_distinct, size.length)
    sequences = generator.choice(size.num_messages, size=shape, p=chances / chances.sum())
    distinct = [tuple(row) for row in sequences.tolist()]
    is_bad = (sequences == size.num_messages - 3).any(axis=1)
    num_windows = size.num_train + size.num_test
    places = np.arange(num_windows) % size.num_distinct
    generator.shuffle(places)
    is_anomalous = is_bad[places] ^ (generator.random(num_windows) < 0.01)

    def part(start: int, stop: int) -> Windows:
        return Windows(
            window_ids=np.arange(start, stop),
            message_ids=[distinct[place] for place in places[start:stop]],
            is_anomalous=is_anomalous[start:stop],
        )

    return part(0, size.num_train), part(size.num_train, num_windows)


def timed(call: Callable[[], Out]) -> tuple[Out, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun


def measure(size: Size) -> dict[str, float]:
    """Seconds of fitting all detectors, of scoring with each, and of the intervals of all."""
    train, test = drawn(size)
    assert test.is_anomalous is not None
    generator = np.random.default_rng(1)
    evidence = Evidence(
        train=train,
        alert_rates=generator.random(size.num_messages),
        vectors_ME=generator.normal(size=(size.num_messages, ENCODER_WIDTH)).astype(np.float32),
    )
    fitted, seconds = timed(lambda: fit_baselines(evidence))
    assert not fitted.not_applicable
    rows, scores = {f"fitting {len(BASELINES)} detectors": seconds}, dict[str, Scores]()
    for name, score in fitted.scorers.items():
        scores[name], rows[f"scoring: {name}"] = timed(partial(score, test))
    thresholds = dict.fromkeys(scores, 0.5)
    labels = test.is_anomalous
    _, rows["intervals of all"] = timed(lambda: intervals(labels, scores, thresholds))
    return rows


def main() -> None:
    for name, size in SIZES.items():
        table = Table("step", box=box.SIMPLE, title=f"{name}: {size}", title_justify="left")
        table.add_column("seconds", justify="right")
        rows = measure(size)
        for step, seconds in (rows | {"in all": sum(rows.values())}).items():
            table.add_row(step, f"{seconds:.2f}")
        Console().print(table)


if __name__ == "__main__":
    main()
