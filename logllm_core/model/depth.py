"""Fewer layers of a decoder: some in its middle are left out.

What passes through a deep decoder is changed least by layers past its middle, so that many of them
can go, if training mends the rest; the last ones turn states into words and stay (Men et al. 2024,
arXiv 2403.03853; Gromov et al. 2024, arXiv 2403.17887). A step and a score cost as much less.
"""

from typing import Any

from torch import nn

FRONT = 0.6  # of the layers that are kept: those before the gap


def kept_layers(num_layers: int, depth: float) -> list[int]:
    """Numbers of the layers that are kept, from 0: at least the first and the last.

    Args:
        depth: the wanted share of them, above 0 and at most 1.
    """
    num_kept = max(round(depth * num_layers), min(num_layers, 2))
    num_front = round(FRONT * num_kept)
    return [*range(num_front), *range(num_layers - num_kept + num_front, num_layers)]


def leave_out_layers(decoder: Any, depth: float) -> None:
    """Shorten a Llama-architecture decoder in place, before it has adapters."""
    layers, config = decoder.model.layers, decoder.config
    kept = kept_layers(len(layers), depth)
    decoder.model.layers = nn.ModuleList([layers[number] for number in kept])
    if getattr(config, "layer_types", None):  # of decoders with kinds of attention
        config.layer_types = [config.layer_types[number] for number in kept]
    config.num_hidden_layers = len(kept)
