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
        phase = _Phase(
            self._title,
            network,
            loss,
            num_samples=num_samples,
            settings=settings,
            seed=derived_seed(self._seed, name),
            at_epoch=at_epoch,
            rate=rate or (lambda step: settings.learning_rate),
        )
        phase.train(self._heading(name), self._steps(name, phase))
        self._take_down(name, phase)
        self.seconds_now += monotonic() - started

    def _heading(self, phase: str) -> str:
        return f"Training {self._title}" + (f", {phase}" if phase != self._title.lower() else "")

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


class _Phase:
    """One phase under way; the arguments are those of `Trainer.train`."""

    def __init__(
        self,
        title: str,
        network: nn.Module,
        loss: Loss,
        *,
        num_samples: int,
        settings: MethodSettings,
        seed: int,
        at_epoch: Callable[[int], None] | None,
        rate: Callable[[int], float],
    ) -> None:
        assert num_samples, "there is nothing to train on"
        self.title = title
        self.network = network
        self.loss = loss
        self.at_epoch = at_epoch
        self.rate = rate
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
    def step(self) -> int:
        return self.state.progress.step

    @property
    def epoch(self) -> int:
        return self.step // self.steps_per_epoch

    def train(self, title: str, steps: ResumableSteps) -> None:
        self.network.eval()
        steps.go_on()
        first = self.step
        if first == self.num_steps:  # a finished phase is not gone on with
            self.state.change(num_resumes=self.state.progress.num_resumes - 1)
        steps.run(title, self._take_step, lambda: self.step == self.num_steps)
        if self.step > first:  # what comes after training can be cut off, too
            if not all(bool(weight.isfinite().all()) for weight in self.state.parameters.values()):
                raise self._not_finite("its weights are not finite")
            steps.save()

    def _take_step(self, interruption: Interruption) -> bool:
        """Returns whether this process was asked to stop."""
        if self.step % self.steps_per_epoch == 0 and self.at_epoch:
            with torch.no_grad():
                self.at_epoch(self.epoch)
        self.network.train()
        torch.manual_seed(derived_seed(self.seed, "step", str(self.step)))
        for gradient in self.state.gradients:
            gradient.zero_()
        mean_loss = self.loss(self._samples())
        mean_loss.backward()  # type: ignore[no-untyped-call]
        value = float(mean_loss.detach())
        self.network.eval()
        if not np.isfinite(value):
            raise self._not_finite(f"its loss is {value}")
        self.state.take_step(value, self.rate(self.step))
        return interruption.is_noted

    def _not_finite(self, what: str) -> LogLLMError:
        return LogLLMError(
            f"{self.title} stops at step {self.step}: {what}. Lower its learning_rate."
        )

    def _samples(self) -> Indices:
        """Those of the step to come."""
        if self._order_of != self.epoch:
            generator = np.random.default_rng(derived_seed(self.seed, "epoch", str(self.epoch)))
            self._order = generator.permutation(self.num_samples)[: self.num_taken]
            self._order_of = self.epoch
        start = self.step % self.steps_per_epoch * self.batch_size
        return self._order[start : start + self.batch_size]
