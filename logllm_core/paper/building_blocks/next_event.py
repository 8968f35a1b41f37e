"""The event that comes next, given those before it: what DeepLog and LogAnomaly predict.

Every event of a window has a history: the events before it, padded at the front where they are
fewer. Histories repeat far more than windows do, so the distinct pairs of a history and its next
event are kept with their numbers. A sample is one occurrence of a pair, so that steps see what they
would see in the log; a pair that a step holds several times is computed once, and weighs as often.

Axes: W windows, R events of all windows, P distinct pairs, B pairs of a batch, H events of a
history, K known events.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.paper.building_blocks.fitting import MethodSettings
from logllm_core.paper.building_blocks.interface import Bench, Ids, Scorer, Scores
from logllm_core.paper.building_blocks.thresholds import beyond

Pairs = NDArray[np.int32]  # [P, H + 1]: the next event last
Network = Callable[[Tensor], Tensor]  # histories [B, H] to logits [B, K]

PADDING = -1
NUM_EVENTS = 1 << 20  # of windows that are scored at once
NUM_CELLS = 1 << 24  # numbers that the network reads at once
MIN_WIDTH = 1_024  # taken to stand for an event: as many as there are known ones, or a vector


class HistorySettings(MethodSettings):
    """What both methods have in common.

    DeepLog's paper does not say how long it trains, but on what: 4,855 sessions of HDFS, which have
    about 50,000 histories of 10. Public implementations of both methods take 300 epochs in steps of
    2,048 samples. Here steps are smaller, so that small logs have enough of them.
    """

    num_epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    max_samples: int | None = Field(default=20_000, ge=1)  # drawn anew each epoch
    num_before: int = Field(default=10, ge=1)  # h, events of a history
    num_candidates: int = Field(default=9, ge=1)  # g: an event is normal among so many likeliest


def slide(windows: Sequence[Ids], num_before: int) -> Pairs:
    """Each event of each window after its history, in order: [R, H + 1]."""
    padding = (PADDING,) * num_before
    padded = np.fromiter(chain.from_iterable(padding + ids for ids in windows), dtype=np.int32)
    every: Pairs = sliding_window_view(padded, num_before + 1)
    pairs: Pairs = every[padded[num_before:] != PADDING]
    return pairs


def count_pairs(windows: Sequence[Ids], num_before: int) -> tuple[Pairs, NDArray[np.int64]]:
    """Distinct pairs of a history and the event after it, and how often the windows hold each."""
    numbers = Counter(windows)
    pairs, pair_of = np.unique(slide(list(numbers), num_before), axis=0, return_inverse=True)
    times_R = np.repeat(list(numbers.values()), [len(ids) for ids in numbers])
    counts = np.zeros(len(pairs), dtype=np.int64)
    np.add.at(counts, pair_of, times_R)
    return pairs, counts


def one_hot(events_BH: Tensor, num_known: int) -> Tensor:
    """[B, H, K]; 0 for padding and for events that training lacks."""
    is_known_BH = (events_BH >= 0) & (events_BH < num_known)
    column_BH = torch.where(is_known_BH, events_BH, num_known)
    full = torch.zeros(*events_BH.shape, num_known + 1, device=events_BH.device)
    return full.scatter_(2, column_BH[..., None], 1.0)[..., :num_known]


def fit_next(
    name: str,
    network: nn.Module,
    windows: Sequence[Ids],
    *,
    num_known: int,
    settings: HistorySettings,
    bench: Bench,
) -> Scorer:
    """Teach a network which event comes next; an event that it finds unlikely is an alarm.

    A window's score is r / (r + g), with r the worst rank among its events: above .5 if that one
    is not among the g likeliest. An event that training lacks ranks behind all. A window's first
    event has nothing before it and is taken as it is, if it is known.

    Args:
        network: from histories [B, H] (event ids and PADDING) to logits [B, K].
    """
    pairs, counts = count_pairs(windows, settings.num_before)
    pair_of_sample = np.repeat(np.arange(len(pairs)), counts)

    def loss(samples: NDArray[np.int64]) -> Tensor:
        drawn, times = np.unique(pair_of_sample[samples], return_counts=True)
        before_BH, next_B = _tensors(pairs[drawn], bench.device)
        losses_B = functional.cross_entropy(network(before_BH), next_B, reduction="none")
        return losses_B @ torch.from_numpy(times).to(losses_B) / len(samples)

    bench.trainer.train(name, network, loss, num_samples=len(pair_of_sample), settings=settings)

    def score(windows: Sequence[Ids]) -> Scores:
        worst = [
            worst_ranks(part, network, num_known, settings, bench.device)
            for part in _parts(windows)
        ]
        return beyond(np.concatenate(worst), float(settings.num_candidates))

    return score


def worst_ranks(
    windows: Sequence[Ids],
    network: Network,
    num_known: int,
    settings: HistorySettings,
    device: torch.device,
) -> NDArray[np.float64]:
    """The worst rank, from 1, of any event of each window, [W]."""
    pairs, pair_of = np.unique(slide(windows, settings.num_before), axis=0, return_inverse=True)
    ranks = np.ones(len(pairs))
    is_known = pairs[:, -1] < num_known
    ranks[~is_known] = max(num_known, settings.num_candidates) + 1
    judged = np.flatnonzero(is_known & (pairs[:, -2] != PADDING))
    step = max(NUM_CELLS // (max(num_known, MIN_WIDTH) * settings.num_before), 1)
    for start in range(0, len(judged), step):
        part = judged[start : start + step]
        ranks[part] = ranks_of(network, *_tensors(pairs[part], device)).cpu().numpy()
    starts = np.cumsum([0, *(len(ids) for ids in windows[:-1])])
    worst: NDArray[np.float64] = np.maximum.reduceat(ranks[pair_of], starts)
    return worst


@torch.no_grad()
def ranks_of(network: Network, before_BH: Tensor, next_B: Tensor) -> Tensor:
    """The rank of the next event among all known ones, from 1: [B]."""
    logits_BK = network(before_BH)
    own_B1 = logits_BK.gather(1, next_B[:, None])
    return (logits_BK > own_B1).sum(dim=1) + 1


def _tensors(pairs: Pairs, device: torch.device) -> tuple[Tensor, Tensor]:
    """Histories [B, H] and next events [B]."""
    batch = torch.from_numpy(pairs).long().to(device)
    return batch[:, :-1], batch[:, -1]


def _parts(windows: Sequence[Ids]) -> Iterator[Sequence[Ids]]:
    """Windows in their order, so many at once as hold about NUM_EVENTS events."""
    part = np.cumsum([len(ids) for ids in windows]) // NUM_EVENTS
    ends = [*(np.flatnonzero(np.diff(part)) + 1).tolist(), len(windows)]
    start = 0
    for end in ends:
        yield windows[start:end]
        start = end
