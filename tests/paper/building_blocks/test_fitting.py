"""Training that a kill cannot lose: the same weights, bit for bit."""

import signal
from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from logllm_core.errors import LogLLMError
from logllm_core.paper.building_blocks.fitting import MethodSettings, Trainer
from logllm_core.paper.building_blocks.interface import Bench

SETTINGS = MethodSettings(num_epochs=3, batch_size=4, learning_rate=0.05)
NUM_SAMPLES = 10  # 3 steps an epoch, the last one of 2 samples


class Network(nn.Module):
    """A line through points, with dropout, and a buffer that each epoch sets."""

    center: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(1, 1)
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("center", torch.zeros(1))

    def loss(self, places: NDArray[np.int64]) -> Tensor:
        points = torch.from_numpy(places).float()[:, None]
        found: Tensor = ((self.dropout(self.line(points)) - self.center - 2 * points) ** 2).mean()
        return found


class Killed(BaseException):
    """Stands for kill -9: nothing is cleaned up."""


def die() -> None:
    raise Killed


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def train(trainer: Trainer, at: int | None = None, happens: Callable[[], None] = die) -> Network:
    """Train, and have something happen within the step that comes after `at` others."""
    network = Network()
    steps: list[NDArray[np.int64]] = []

    def loss(places: NDArray[np.int64]) -> Tensor:
        if len(steps) == at:
            happens()
        steps.append(places)
        return network.loss(places)

    def set_center(epoch: int) -> None:
        # From the weights, so that going on within an epoch could not set it again.
        network.center.copy_(network.line.weight[0] * epoch)

    trainer.train(
        "line", network, loss, num_samples=NUM_SAMPLES, settings=SETTINGS, at_epoch=set_center
    )
    return network


@pytest.mark.parametrize("dies_at", range(9))
def test_gone_on_after_a_kill_at_any_step_the_weights_are_the_same(
    dies_at: int, make_bench: Callable[..., Bench]
) -> None:
    whole = train(make_bench(folder="undisturbed").trainer)
    with pytest.raises(Killed):
        train(make_bench(checkpoint_minutes=0.0).trainer, at=dies_at)
    again = make_bench()
    resumed = train(again.trainer)
    for name, wanted in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], wanted), name
    assert len(again.trainer.rows) == 9
    assert again.trainer.num_resumes == (dies_at > 0)


def test_what_is_trained_is_not_trained_again(make_bench: Callable[..., Bench]) -> None:
    first = train(make_bench().trainer)
    second = train(make_bench().trainer, at=0)  # the first step would be its last
    assert torch.equal(first.line.weight, second.line.weight)


def test_each_epoch_holds_each_sample_once_in_an_order_of_the_seed(
    make_bench: Callable[..., Bench],
) -> None:
    seen: list[list[int]] = []
    network = Network()

    def loss(places: NDArray[np.int64]) -> Tensor:
        seen.append(places.tolist())
        return network.loss(places)

    make_bench(seed=5).trainer.train("line", network, loss, num_samples=10, settings=SETTINGS)
    assert [len(places) for places in seen] == [4, 4, 2] * 3
    epochs = [[*chain(*seen[start : start + 3])] for start in (0, 3, 6)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 3
    assert epochs[0] != epochs[1]


def test_an_epoch_may_be_a_part_of_the_samples(make_bench: Callable[..., Bench]) -> None:
    network = Network()
    bench = make_bench()
    settings = SETTINGS.model_copy(update={"max_samples": 5})
    bench.trainer.train("line", network, network.loss, num_samples=10, settings=settings)
    assert len(bench.trainer.rows) == 6
    assert not network.training


def test_the_rate_may_follow_the_steps(make_bench: Callable[..., Bench]) -> None:
    network, bench = Network(), make_bench()
    bench.trainer.train(
        *("line", network, network.loss),
        num_samples=10,
        settings=SETTINGS,
        rate=lambda step: 0.1 / (step + 1),
    )
    assert [row["rate"] for row in bench.trainer.rows[:3]] == [0.1, 0.05, 0.1 / 3]


def test_a_loss_that_is_not_finite_ends_it_with_advice(bench: Bench) -> None:
    network = Network()
    with pytest.raises(LogLLMError, match=r"Tested stops at step 0: its loss is nan\. Lower"):
        bench.trainer.train(
            *("line", network, lambda places: network.loss(places) * float("nan")),
            num_samples=10,
            settings=SETTINGS,
        )


def test_a_signal_is_heard_at_the_end_of_a_step_and_nothing_is_lost(
    make_bench: Callable[..., Bench],
) -> None:
    whole = train(make_bench(folder="undisturbed").trainer)
    with pytest.raises(KeyboardInterrupt):
        train(make_bench().trainer, at=4, happens=interrupt)
    resumed = make_bench()
    assert torch.equal(train(resumed.trainer).line.weight, whole.line.weight)
    assert resumed.trainer.num_resumes == 1
    assert len(resumed.trainer.rows) == 9


def test_checkpoints_of_other_settings_are_refused(make_bench: Callable[..., Bench]) -> None:
    train(make_bench(seed=0).trainer)
    with pytest.raises(LogLLMError, match="made for another training: seed is 0 there and 1 here"):
        train(make_bench(seed=1).trainer)


def test_weights_that_are_not_finite_at_the_end_are_no_training(
    make_bench: Callable[..., Bench],
) -> None:
    """The last step's loss is finite, what it does to the weights is not."""

    def broken(places: NDArray[np.int64]) -> Tensor:
        found = network.loss(places)
        return found + (network.line.weight * 0).sqrt().sum()  # its slope at 0 is infinite

    network, bench = Network(), make_bench()
    settings = SETTINGS.model_copy(update={"num_epochs": 1, "batch_size": 10})
    with pytest.raises(LogLLMError, match=r"Tested stops at step 1: its weights are not finite"):
        bench.trainer.train("line", network, broken, num_samples=10, settings=settings)


def test_parameters_that_two_phases_share_count_once(bench: Bench) -> None:
    network = Network()
    for name in ("first", "second"):
        bench.trainer.train(name, network, network.loss, num_samples=10, settings=SETTINGS)
    assert bench.trainer.num_parameters == 2  # a slope and a height
