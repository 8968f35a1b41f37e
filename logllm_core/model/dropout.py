"""Dropout that is quick on a CPU and inside compiled code.

torch draws one random number an element there, on one thread: a sixth of a training step. Here one
draw serves four elements, and it is opaque to the compiler, which would otherwise put a slow
generator of its own in its place.
"""

from typing import cast

import torch
from torch import Tensor, nn

BITS = 16  # of randomness for an element: probabilities are exact to 1 in 65,536
LOWEST = -(1 << 63)  # of 64-bit integers


@torch.library.custom_op(
    "logllm::keep_mask", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)
def keep_mask(like: Tensor, num_dropped: int, number: int) -> Tensor:
    """True where an element is kept; `num_dropped` of 65,536 are not. In the shape of `like`.

    Draws from torch's generator of the device: seed that first. `number` changes nothing here: it
    sets a call apart from another with the same `like`, which the compiler would make one of.
    """
    num_draws = -(-like.numel() * BITS // 64)
    draws = torch.empty(num_draws, dtype=torch.int64, device=like.device).random_(LOWEST, None)
    parts = draws.view(torch.int16)[: like.numel()]
    return (parts >= num_dropped - (1 << BITS - 1)).view(like.shape)


@keep_mask.register_fake
def _(like: Tensor, num_dropped: int, number: int) -> Tensor:
    return torch.empty(like.shape, dtype=torch.bool, device=like.device)


class QuickDropout(nn.Module):
    """As `nn.Dropout`: in training, an element is zeroed with `probability`, the rest scaled up.

    Args:
        number: another one for each that reads the same tensor; compiled, they would share a mask.
    """

    def __init__(self, probability: float, number: int = 0) -> None:
        super().__init__()
        self.number = number
        self.num_dropped = round(probability * (1 << BITS))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.num_dropped == 0:
            return x
        kept = cast(Tensor, keep_mask(x.detach(), self.num_dropped, self.number))
        return x * kept * (1 / (1 - self.num_dropped / (1 << BITS)))
