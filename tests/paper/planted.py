"""A small simulated log with a planted pattern, as a method sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.paper.building_blocks.events import learn_events
from logllm_core.paper.building_blocks.interface import Ids, Method, Scorer, Scores, Training
from logllm_core.paper.building_blocks.training_windows import training_windows

# A healthy program says the first four in turn, beginning anywhere; the others are its troubles.
TEXTS = [
    "read alpha <*>",
    "write beta disk",
    "gamma read ok",
    "delta write ok disk",
    "failed disk alpha",
    "failed gamma write delta",
    "failed read",
]
TURN = 4
Pattern = Literal["order", "content"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """What a method learns from, and windows to score with their labels."""

    training: Training
    windows: list[Ids]  # of event ids
    is_anomalous: NDArray[np.bool_]

    def pr_auc(self, scorer: Scorer) -> float:
        return float(average_precision_score(self.is_anomalous, self.scores(scorer)))

    def f1(self, scorer: Scorer) -> float:
        alarms = self.scores(scorer) > 0.5
        return float(
            2 * (alarms & self.is_anomalous).sum() / (alarms.sum() + self.is_anomalous.sum())
        )

    def scores(self, scorer: Scorer) -> Scores:
        scores = scorer(self.windows)
        assert scores.shape == (len(self.windows),)
        assert ((scores >= 0) & (scores <= 1)).all()
        return scores


def plant(method: Method, pattern: Pattern, *, num_train: int = 240, num_test: int = 80) -> Planted:
    """Windows of 8 to 14 messages; every fifth is anomalous.

    Args:
        pattern: "order": in anomalous windows the program takes its turns backwards for five
            messages, and says nothing that a healthy one would not. "content": two messages of the
            last three of TEXTS stand in them; the test windows alone hold the very last one.
    """
    dice = np.random.default_rng(0)
    made = [_window(dice, pattern, place, num_train) for place in range(num_train + num_test)]
    labels = np.arange(len(made)) % 5 == 4
    train = Windows(
        window_ids=np.arange(num_train),
        message_ids=made[:num_train],
        is_anomalous=labels[:num_train],
    )
    seen = training_windows(method, "planted", train)
    assert seen.is_anomalous is not None
    reading = learn_events(method.reads, seen.message_ids, TEXTS)
    return Planted(
        training=Training(
            windows=reading.read(seen.message_ids),
            is_anomalous=seen.is_anomalous,
            events=reading.events,
        ),
        windows=reading.read(made[num_train:]),
        is_anomalous=labels[num_train:],
    )


def _window(dice: np.random.Generator, pattern: Pattern, place: int, num_train: int) -> Ids:
    start, length = int(dice.integers(TURN)), int(dice.integers(8, 15))
    turns = [(start + step) % TURN for step in range(length)]
    if place % 5 == 4:
        at = int(dice.integers(1, length - 5))
        if pattern == "order":
            turns[at : at + 5] = [(turns[at] - step) % TURN for step in range(5)]
        else:
            troubles: Sequence[int] = [4, 5] if place < num_train else [4, 5, 6]
            turns[at], turns[at + 3] = dice.choice(troubles, 2, replace=False).tolist()
    return tuple(turns)
