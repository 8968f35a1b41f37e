"""Training the methods' networks so that a `kill -9` loses nothing.

As in a stage of LogLLM itself, the state at the end of a step is its number, the weights and the
optimiser's moments. All else follows from the seed: the order of an epoch's samples, and what is
drawn at random within a step.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError
from logllm_core.signals import Interruption
from logllm_core.store.store import Json
from logllm_core.training.checkpoint import Checkpoints
from logllm_core.training.resumable_steps import ResumableSteps
from logllm_core.training.sampling import derived_seed
from logllm_core.training.training_state import TrainingState

Indices = NDArray[np.int64]
Loss = Callable[[Indices], Tensor]


class MethodSettings(Settings):
    """What the methods that train have in common; each one's own table extends it."""

    num_epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)  # samples an optimiser step
    learning_rate: float = Field(gt=0)
    max_samples: int | None = Field(default=None, ge=1)  # an epoch; None: all


class AttentionSettings(MethodSettings):
    """Of the methods whose vectors are shared out among heads of attention."""

    width: int = Field(ge=1)
    num_heads: int = Field(ge=1)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is no multiple of num_heads {self.num_heads}")
        return self


class Trainer:
    """Takes a method's optimiser steps, phase after phase.

    Args:
        seed: of the order of samples and of all that is drawn at random.
        folder: of the checkpoints, a folder a phase in it.
        made_for: settings and inputs, as JSON: a checkpoint of others is refused.
        checkpoint_minutes: of training that a crash may cost.
    """

    def __init__(
        self,
        *,
        title: str,
        seed: int,
        device: torch.device,
        folder: Path,
        made_for: Mapping[str, Any],
        checkpoint_minutes: float,
    ) -> None:
        self.rows: list[dict[str, Json]] = []  # of the metrics, one a step of any phase
        self.seconds = 0.0  # of training, with what earlier attempts took
        self.seconds_now = 0.0  # of this attempt alone
        self.num_resumes = 0
        self.peak_memory_bytes = 0
        self.peak_gpu_memory_bytes = 0
        self._counted: dict[nn.Parameter, int] = {}  # phases may share parameters
        self._title = title
        self._seed = seed
        self._device = device
        self._folder = folder
        self._made_for = made_for
        self._checkpoint_minutes = checkpoint_minutes

    def train(
        self,
        name: str,
        network: nn.Module,
        loss: Loss,
        *,
        num_samples: int,
        settings: MethodSettings,
        at_epoch: Callable[[int], None] | None = None,
        rate: Callable[[int], float] | None = None,
    ) -> None:
        """Train all epochs of one phase with Adam, or what an earlier attempt left of them.

        Args:
            name: of the phase, unique within the method.
            network: on the device; trained in place, and left ready to score.
            loss: the mean loss over the samples of these numbers. All that it draws at random comes
                from torch, which is seeded before each step.
            num_samples: they are numbered from 0 to this.
            at_epoch: called before each epoch without gradients, the network ready to score; may
                change the network's buffers.
            rate: the learning rate of a step, from 0; else that of the settings.

        Raises:
            LogLLMError: the loss is not finite, or a checkpoint is that of another training.
        """
        started = monotonic()
        phase = _Phase(network, settings, num_samples, derived_seed(self._seed, name))
        steps = self._steps(name, phase)
        phase.go_on(steps)
        first = phase.step

        def take_step(interruption: Interruption) -> bool:
            if phase.begins_epoch and at_epoch:
                with torch.no_grad():
                    at_epoch(phase.epoch)
            value = phase.take_step(loss, rate(phase.step) if rate else settings.learning_rate)
            if not np.isfinite(value):
                raise _not_finite(self._title, phase.step, f"its loss is {value}")
            return interruption.is_noted

        title = f"Training {self._title}" + (f", {name}" if name != self._title.lower() else "")
        steps.run(title, take_step, lambda: phase.step == phase.num_steps)
        if phase.step > first:  # what comes after training can be cut off, too
            if not phase.is_finite:
                raise _not_finite(self._title, phase.step, "its weights are not finite")
            steps.save()
        self._take_down(name, phase)
        self.seconds_now += monotonic() - started

    def _steps(self, name: str, phase: "_Phase") -> ResumableSteps:
        return ResumableSteps(
            name=self._title,
            num_steps=phase.num_steps,
            state=phase.state,
            checkpoints=Checkpoints(
                folder=self._folder / name, made_for={**self._made_for, "phase": name}
            ),
            checkpoint_minutes=self._checkpoint_minutes,
            device=self._device,
        )

    def _take_down(self, name: str, phase: "_Phase") -> None:
        progress, weights = phase.state.progress, phase.state.parameters.values()
        self.rows += [{"phase": name, **row} for row in phase.state.rows]
        self.seconds += progress.seconds
        self.num_resumes += progress.num_resumes
        self._counted |= {weight: weight.numel() for weight in weights}
        self.peak_memory_bytes = max(self.peak_memory_bytes, progress.peak_memory_bytes)
        self.peak_gpu_memory_bytes = max(self.peak_gpu_memory_bytes, progress.peak_gpu_memory_bytes)

    @property
    def num_parameters(self) -> int:
        """Of all phases."""
        return sum(self._counted.values())


def _not_finite(title: str, step: int, what: str) -> LogLLMError:
    return LogLLMError(f"{title} stops at step {step}: {what}. Lower its learning_rate.")


class _Phase:
    """One phase under way."""

    def __init__(
        self, network: nn.Module, settings: MethodSettings, num_samples: int, seed: int
    ) -> None:
        assert num_samples, "there is nothing to train on"
        self.network = network
        self.seed = seed
        self.num_samples = num_samples
        self.batch_size = settings.batch_size
        self.num_taken = min(settings.max_samples or num_samples, num_samples)
        self.steps_per_epoch = -(-self.num_taken // settings.batch_size)
        self.num_steps = self.steps_per_epoch * settings.num_epochs
        self.state = TrainingState(
            {name: weight for name, weight in network.named_parameters() if weight.requires_grad},
            buffers=dict(network.named_buffers()),
            micro_batch_size=settings.batch_size,
            weight_decay=0.0,
        )
        self._order: Indices = np.zeros(0, dtype=np.int64)
        self._order_of = -1  # the epoch

    @property
    def is_finite(self) -> bool:
        return all(bool(weight.isfinite().all()) for weight in self.state.parameters.values())

    @property
    def step(self) -> int:
        return self.state.progress.step

    @property
    def epoch(self) -> int:
        return self.step // self.steps_per_epoch

    @property
    def begins_epoch(self) -> bool:
        return self.step % self.steps_per_epoch == 0

    def take_step(self, loss: Loss, rate: float) -> float:
        samples = self._samples()
        self.network.train()
        torch.manual_seed(derived_seed(self.seed, "step", str(self.step)))
        for gradient in self.state.gradients:
            gradient.zero_()
        mean_loss = loss(samples)
        mean_loss.backward()  # type: ignore[no-untyped-call]
        value = float(mean_loss.detach())
        self.network.eval()
        if np.isfinite(value):
            self.state.take_step(value, rate)
        return value

    def _samples(self) -> Indices:
        """Those of the step to come."""
        if self._order_of != self.epoch:
            generator = np.random.default_rng(derived_seed(self.seed, "epoch", str(self.epoch)))
            self._order = generator.permutation(self.num_samples)[: self.num_taken]
            self._order_of = self.epoch
        start = self.step % self.steps_per_epoch * self.batch_size
        return self._order[start : start + self.batch_size]

    def go_on(self, steps: ResumableSteps) -> None:
        self.network.eval()
        steps.go_on()
        if self.step == self.num_steps:  # a finished phase is not gone on with
            self.state.change(num_resumes=self.state.progress.num_resumes - 1)
