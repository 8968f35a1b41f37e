"""Where the projector starts, before the first step.

A decoder that sees messages as it never saw text answers by the classes' shares for as long as it
takes to find where in a message to look, and that is luck. What a linear look at the messages knows
can be told to it at once: what lies towards the anomalous windows begins as what looks like the
word.

Axes: M distinct messages, N windows, E encoder width.
"""

import numpy as np
import torch
from torch import Tensor

from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.model.batches import Collator
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.logllm import LogLLM
from logllm_core.model.window_answers import encode_windows
from logllm_core.training.recipes import ProjectorInit
from logllm_core.training.sampling import Indices, distinct_windows

# Their mean, their spread and what tells the classes apart are known well enough by so many.
MOST_MESSAGES = 4_096
MOST_WINDOWS = 8_192  # of each class
SHRINKAGE = 0.1  # of the windows' mean variance, added in every direction


def start_projector(model: LogLLM, collator: Collator, train: Windows, how: ProjectorInit) -> None:
    """Start the projector by the messages of these windows, or leave it as torch made it.

    Of very many messages and windows some are looked at, evenly over the log. A model without a
    projector stays as it is.
    """
    if how == "torch":
        return
    known = sorted({message for window in train.message_ids for message in window})
    evenly = known[:: -(-len(known) // MOST_MESSAGES)]  # they are numbered as they first occur
    vectors = encode_windows(model, collator, [tuple(evenly)])
    if vectors is None:
        return
    model.align_projector(vectors.vectors_ME)
    if how == "discriminant":
        is_encoded = np.zeros(known[-1] + 1, dtype=bool)
        is_encoded[evenly] = True
        indices = _both_classes(distinct_windows(train, collator.max_window_messages), train)
        read = [np.array(collator.cut(train.message_ids[index])) for index in indices]
        of_encoded = [ids[is_encoded[ids]] for ids in read]
        assert train.is_anomalous is not None
        model.lean_projector(
            vectors.vectors_ME,
            discriminant(
                _means(vectors, of_encoded), torch.from_numpy(train.is_anomalous[indices])
            ),
        )


def _both_classes(indices: Indices, train: Windows) -> Indices:
    """As many windows of each class as are looked at, evenly over the log."""
    assert train.is_anomalous is not None
    is_anomalous = train.is_anomalous[indices]
    parts = [indices[is_anomalous == label] for label in (False, True)]
    return np.concatenate([part[:: -(-len(part) // MOST_WINDOWS)] for part in parts])


def _means(vectors: EncoderVectors, windows: list[Indices]) -> Tensor:
    """Mean vectors [N, E] of windows of message ids; 0 for a window of none."""
    window_N = torch.from_numpy(np.repeat(np.arange(len(windows)), [len(ids) for ids in windows]))
    row_N = torch.from_numpy(vectors.row_of[np.concatenate(windows)])
    count_N = torch.bincount(window_N, minlength=len(windows)).clamp(min=1)
    total_NE = vectors.vectors_ME.new_zeros(len(windows), vectors.vectors_ME.shape[1])
    total_NE.index_add_(0, window_N, vectors.vectors_ME[row_N])
    return total_NE / count_N[:, None]


def discriminant(vectors_NE: Tensor, is_anomalous_N: Tensor) -> Tensor:
    """Fisher's linear discriminant, a direction [E] from the normal to the anomalous vectors.

    Both classes weigh alike, and the covariance is shrunken, so that it can be inverted.
    """
    vectors_NE = vectors_NE.double()
    share_N1 = torch.where(
        is_anomalous_N, 0.5 / is_anomalous_N.sum(), 0.5 / (~is_anomalous_N).sum()
    )[:, None]
    centred_NE = vectors_NE - (share_N1 * vectors_NE).sum(dim=0)
    covariance_EE = (share_N1 * centred_NE).T @ centred_NE
    covariance_EE.diagonal().add_(SHRINKAGE * covariance_EE.diagonal().mean() + 1e-12)
    between_E = ((is_anomalous_N.double() - 0.5)[:, None] * share_N1 * centred_NE).sum(dim=0)
    direction_E: Tensor = torch.linalg.solve(covariance_EE, between_E)
    return direction_E.float()
