"""What classifiers share: a network that tells anomalous windows from normal ones.

Windows repeat: 95 % of the sessions of HDFS have the sequence of another one. Within a step each
distinct window passes the network once, weighed by how many normal and anomalous samples of the
step it stands for. That is the mean loss over the samples with equal terms taken together; dropout
is drawn once for all of them, which changes no expectation.

Axes: B distinct windows, L events of a window, C classes (normal, anomalous).
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from loguru import logger
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.evaluation.measures.bags import distinct
from logllm_core.paper.building_blocks.fitting import MethodSettings
from logllm_core.paper.building_blocks.interface import Bench, Ids, Scorer, Scores, Training

NUM_CELLS = 1 << 14  # windows times events that are scored at once; bounds the memory


class ClassifierSettings(MethodSettings):
    """What the supervised methods have in common; each one's own table extends it."""

    # More are cut off at the window's end, and counted. The longest session of HDFS has 298.
    max_window_events: int = Field(default=300, ge=1)


def fit_classifier(
    name: str,
    network: nn.Module,
    training: Training,
    settings: ClassifierSettings,
    bench: Bench,
    *,
    chances_W: NDArray[np.float64] | None = None,
    rate: Callable[[int], float] | None = None,
) -> Scorer:
    """Train a network by cross-entropy on all labels; its score is the probability of anomalous.

    Args:
        network: on the device; gives logits [B, C] for events [B, L] and which of these are events,
            [B, L], where the others pad at the end.
        chances_W: of each training window, that it is anomalous, in place of its label.
        rate: of learning, by step; else that of the settings.
    """
    kept = cut_windows(name, training.windows, settings.max_window_events)
    windows, number_of = distinct(kept)
    if chances_W is None:
        chances_W = training.is_anomalous.astype(np.float64)
    targets_WC = np.stack([1 - chances_W, chances_W], axis=1)

    def loss(samples: NDArray[np.int64]) -> Tensor:
        rows, row_of_sample = np.unique(number_of[samples], return_inverse=True)
        counts_BC = np.zeros((len(rows), 2), dtype=np.float32)
        np.add.at(counts_BC, row_of_sample, targets_WC[samples])
        logits_BC = network(*padded([windows[row] for row in rows.tolist()], bench.device))
        log_probabilities_BC = functional.log_softmax(logits_BC, dim=1)
        weights_BC = torch.from_numpy(counts_BC / len(samples)).to(bench.device)
        return -(weights_BC * log_probabilities_BC).sum()

    bench.trainer.train(name, network, loss, num_samples=len(kept), settings=settings, rate=rate)
    return lambda windows: _probabilities(
        network, cut_windows(name, windows, settings.max_window_events), bench.device
    )


@torch.no_grad()
def _probabilities(network: nn.Module, windows: Sequence[Ids], device: torch.device) -> Scores:
    """That each window is anomalous."""
    scores = np.zeros(len(windows))
    for batch in batches(windows):
        logits_BC = network(*padded([windows[number] for number in batch], device))
        # In double precision: windows that a network is sure of keep their order.
        odds_B = (logits_BC[:, 1] - logits_BC[:, 0]).double()
        scores[batch] = odds_B.sigmoid().cpu().numpy()
    return scores


def cut_windows(name: str, windows: Sequence[Ids], max_events: int) -> list[Ids]:
    """The first events of each window; says how many windows had more."""
    num_cut = sum(len(ids) > max_events for ids in windows)
    if num_cut:
        logger.info(
            "{}: {:,} of {:,} windows have more than {:,} events and are cut",
            *(name, num_cut, len(windows), max_events),
        )
    return [ids[:max_events] for ids in windows]


def batches(windows: Sequence[Ids]) -> Iterator[list[int]]:
    """Numbers of windows of like length, the longest first, at most NUM_CELLS events a batch."""
    order = sorted(range(len(windows)), key=lambda number: -len(windows[number]))
    start = 0
    while start < len(order):
        num_windows = max(NUM_CELLS // len(windows[order[start]]), 1)
        yield order[start : start + num_windows]
        start += num_windows


def padded(windows: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Events [B, L], padded with 0 at the end, and which of them are events, [B, L]."""
    lengths_B = np.array([len(ids) for ids in windows])
    is_event_BL = np.arange(lengths_B.max()) < lengths_B[:, None]
    events_BL = np.zeros(is_event_BL.shape, dtype=np.int64)
    events_BL[is_event_BL] = [event for ids in windows for event in ids]
    return torch.from_numpy(events_BL).to(device), torch.from_numpy(is_event_BL).to(device)
