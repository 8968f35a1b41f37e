"""How far rounding alone moves log-odds: the same weights and windows, computed in another way.

A sum in another order rounds otherwise: in another batch, on more threads, on another processor.
The precision moves it most, and it too is the processor's, where the recipe leaves it open. What
two ways differ by on this machine tells how far another machine may be off.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from logllm_core.model.batches import Collator
from logllm_core.model.logllm import LogLLM
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import window_log_odds

# Windows, a way: both ways, and loading in float32, cost about a tenth of scoring a thousand.
MOST_COMPARED = 16
FEW = 4  # windows of a batch that is not as it was; one a batch costs three times as much
# Float32 weights take four bytes each beside the model's own: 2 GB at most, less than training it
# took. Not for billions of them.
MOST_FLOAT32_WEIGHTS = 500_000_000
IN_FEW, IN_FLOAT32 = "in batches of four", "in float32"  # ways, as the report tells them

Window = tuple[int, ...]
LogOdds = NDArray[np.float64]
Way = Callable[[Sequence[Window]], LogOdds]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounding:
    """What the ways differ by from the log-odds that stand."""

    num_windows: int  # that were compared, distinct ones
    by_way: Mapping[str, float]  # largest difference in log-odds, nats

    @property
    def log_odds(self) -> float:
        """The largest difference of all."""
        return max(self.by_way.values())

    def num_within(self, margins: NDArray[np.float64]) -> int:
        """How many windows lie nearer to the decision: another way may give another verdict."""
        return int((margins < self.log_odds).sum())


def measure_rounding(
    windows: Sequence[Window], log_odds: LogOdds, margins: LogOdds, ways: Mapping[str, Way]
) -> Rounding:
    """Score some of the windows in other ways.

    Args:
        windows: as they were scored, cut; they may repeat.
        log_odds: theirs.
        margins: how far from the decision, in log-odds.
        ways: by what they are called; each takes distinct windows, and gives their log-odds.
    """
    distinct = list({window: number for number, window in enumerate(windows)}.values())
    numbers = [distinct[number] for number in chosen(margins[distinct])]
    asked = [windows[number] for number in numbers]
    return Rounding(
        num_windows=len(asked),
        by_way={
            name: float(np.abs(way(asked) - log_odds[numbers]).max(initial=0.0))
            for name, way in ways.items()
        },
    )


def chosen(margins: LogOdds, most: int = MOST_COMPARED) -> list[int]:
    """Places of the windows to compare, in order: half of them those nearest to the decision,
    where rounding counts, and half evenly chosen ones of the others.
    """
    order = np.argsort(margins, kind="stable")
    near, others = order[: most // 2], np.sort(order[most // 2 :])
    step = -(-len(others) // (most - most // 2)) or 1
    return sorted([*near.tolist(), *others[::step].tolist()])


def in_batches_of(number: int, model: LogLLM, collator: Collator) -> Way:
    """So many windows at a time share nothing with others; their messages are encoded anew."""

    def scored(windows: Sequence[Window]) -> LogOdds:
        parts = [windows[start : start + number] for start in range(0, len(windows), number)]
        each = [window_log_odds(model, collator, part, None, _untold) for part in parts]
        return np.concatenate([np.empty(0), *each])

    return scored


def in_float32(load: Callable[[], LogLLM], collator: Collator) -> Way:
    """By the same weights, loaded anew and not rounded to bfloat16, as a processor without it does.

    Args:
        load: the trained model in float32; it is let go of again.
    """

    def scored(windows: Sequence[Window]) -> LogOdds:
        model = load()
        set_trainable(model, ())
        return window_log_odds(model, collator, windows, None, _untold)

    return scored


def has_cheap_float32(model: LogLLM) -> bool:
    """Whether float32 differs from how it computes, and the memory for another copy is small.

    Not of quantised weights: each way reads them alike.
    """
    weights = list(model.parameters())
    return (
        model.decoder.model.embed_tokens.weight.dtype == torch.bfloat16
        and all(weight.is_floating_point() for weight in weights)
        and sum(weight.numel() for weight in weights) <= MOST_FLOAT32_WEIGHTS
    )


def _untold(_num_windows: int) -> None:
    """Progress of what takes a moment."""
