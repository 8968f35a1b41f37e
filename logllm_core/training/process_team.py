"""The processes that train a stage together, one a card, as one of them sees them."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from logllm_core.model.devices import devices_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """This process among those that train a stage together."""

    rank: int
    num_processes: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, in each of them; all have to ask for it."""
        if self.num_processes == 1:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total)
        return total


def alone() -> Team:
    """This process is all of the team, whatever the environment says of others."""
    (device,) = devices_of(1)
    return Team(rank=0, num_processes=1, device=device)


def join() -> Team:
    """Join the others below torchrun, once all are there.

    A card each where there are cards (NCCL), else the CPU (Gloo).
    """
    has_card = devices_of(1)[0].type == "cuda"
    distributed.init_process_group("nccl" if has_card else "gloo")
    rank, num_processes = distributed.get_rank(), distributed.get_world_size()
    device = torch.device("cuda", rank) if has_card else torch.device("cpu")
    if has_card:
        torch.cuda.set_device(device)
    else:  # torchrun left one thread to each
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // num_processes))
    return Team(rank=rank, num_processes=num_processes, device=device)


def leave() -> None:
    """In order; a process that ended without this would be a failure to the others."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
