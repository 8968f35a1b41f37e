"""Long windows in pieces that a network can read, and windows of like length side by side."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from logllm_core.paper.building_blocks.interface import Ids
from logllm_core.paper.building_blocks.window_classifier import padded

SPREAD = 2  # a group's longest window has at most so many times its shortest one's events
Group = tuple[Tensor, Tensor]  # events [B, L], and which of them are, [B, L]


def cut(windows: Sequence[Ids], max_events: int) -> tuple[list[Ids], NDArray[np.int64]]:
    """Pieces of windows, none longer than this, and the number of each one's window."""
    pieces = [
        (ids[start : start + max_events], number)
        for number, ids in enumerate(windows)
        for start in range(0, len(ids), max_events)
    ]
    return [piece for piece, _ in pieces], np.array([n for _, n in pieces], dtype=np.int64)


def grouped(windows: Sequence[Ids], device: torch.device) -> list[Group]:
    """The windows in groups of like length, so that a long one does not pad all others."""
    parts: list[list[Ids]] = []
    for ids in sorted(windows, key=len):
        if not parts or len(ids) > SPREAD * len(parts[-1][0]):
            parts.append([])
        parts[-1].append(ids)
    return [padded(part, device) for part in parts]
