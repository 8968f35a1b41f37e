"""What every method is: a way to fit on training windows that gives a way to score windows.

A window is a sequence of *event* ids here. What an event is, the method says: a log template, or a
masked message. Events are numbered anew for each method, so that those that its training windows
hold come first: an id from `Events.num_known` upwards was never seen in training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from logllm_core.config import Settings
from logllm_core.paper.building_blocks.fitting import Trainer
from logllm_core.paper.building_blocks.message_vectors import FrozenEncoder
from logllm_core.training.sampling import derived_seed

Ids = tuple[int, ...]
Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]
# Scores of windows, each of at least one event, in [0, 1]: above .5 is the method's own alarm.
Scorer = Callable[[Sequence[Ids]], Scores]
Reads = Literal["templates", "messages"]
LabelsUsed = Literal["normal windows only", "some normal windows", "all windows"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Events:
    """What the ids of a window stand for."""

    texts: Sequence[str]  # by event id; those beyond `num_known` are for scoring alone
    num_known: int  # ids below occur in the training windows


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """All that a method may learn from."""

    windows: Sequence[Ids]  # in log order; they repeat
    is_anomalous: Labels  # [W]; all False where the method sees normal windows only
    events: Events
    has_sessions: bool = False  # a window is all that the log says of one thing


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What a method works with."""

    seed: int
    device: torch.device
    trainer: Trainer
    encoder: FrozenEncoder

    def seed_weights(self, name: str) -> None:
        """So that what is built next has the same weights in every run of this seed."""
        torch.manual_seed(derived_seed(self.seed, name, "weights"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A row of the table of methods."""

    name: str  # as --only and --set take it
    title: str  # as the paper's Table II has it
    paper: str  # authors, title, where
    reads: Reads
    has_encoder: bool  # it asks the bench's encoder what events mean
    labels: LabelsUsed
    settings: Settings  # the paper's, unless a comment there says otherwise
    fit: Callable[[Training, Any, Bench], Scorer]
    rule: str  # a sentence: what its own alarm is
    differs: Sequence[str] = ()  # sentences: what is not as in its paper, and why
