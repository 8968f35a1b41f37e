"""Where an event stands in its window, as LogBERT and NeuralLog tell their transformers."""

import math

import torch
from torch import Tensor


def positions(num_events: int, width: int) -> Tensor:
    """Sines and cosines of each place, [L, E] (Vaswani et al., 2017, section 3.5)."""
    place_L1 = torch.arange(num_events)[:, None]
    half = torch.arange(0, width, 2)
    angles = place_L1 * torch.exp(half * (-math.log(10_000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]
