import os

import pytest
import torch

from logllm_core.training import process_team
from logllm_core.training.process_team import alone, join


def test_a_process_alone_is_its_own_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # of a job that is not ours
    team = alone()
    tensor = torch.ones(3)
    assert (team.rank, team.num_processes, team.is_first) == (0, 1, True)
    assert team.sum(tensor) is tensor
    assert not torch.distributed.is_initialized()


class Distributed:
    """As torchrun would have it for the second of two processes."""

    def init_process_group(self, backend: str) -> None:
        assert backend == "gloo"

    def get_rank(self) -> int:
        return 1

    def get_world_size(self) -> int:
        return 2


def test_the_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(process_team, "distributed", Distributed())
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(7)))
    try:
        team = join()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert (team.rank, team.is_first, team.device) == (1, False, torch.device("cpu"))
