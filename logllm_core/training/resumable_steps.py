"""Optimiser steps of which neither a `kill -9` nor a signal loses more than was agreed on."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn

import torch
from loguru import logger
from safetensors import SafetensorError

from logllm_core.errors import LogLLMError
from logllm_core.progress import track
from logllm_core.signals import Interruption, noted_interruptions
from logllm_core.store.disk import writable
from logllm_core.training.checkpoint import Checkpoints
from logllm_core.training.training_state import TrainingState


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumableSteps:
    """The steps of one training, whatever is trained.

    Args:
        name: for log lines.
        checkpoints: gone on from, where something is there.
        checkpoint_minutes: of training that a crash may cost.
        is_silent: for all but one of the processes that train together: it logs and saves nothing.
    """

    name: str
    num_steps: int
    state: TrainingState
    checkpoints: Checkpoints
    checkpoint_minutes: float
    device: torch.device
    is_silent: bool = False

    def go_on(self) -> None:
        """Take over the newest checkpoint, where there is one.

        Raises:
            LogLLMError: it is that of another training.
        """
        checkpoint = self.checkpoints.newest()
        if checkpoint is not None:
            self.state.go_on_from(checkpoint)
            self._log("{} goes on after step {:,} of {:,}")

    def run(
        self, title: str, take_step: Callable[[Interruption], bool], is_over: Callable[[], bool]
    ) -> None:
        """Take steps until it is over.

        A signal to stop is heard at the end of a step: a checkpoint is written, then the signal
        goes to whoever would have had it.

        Args:
            take_step: returns whether this or another process of the training was asked to stop.
            is_over: asked before each step, and after the last.

        Raises:
            LogLLMError: it was asked to stop, and who handles that let the process live.
        """
        saved = monotonic()
        with (
            noted_interruptions() as interruption,
            track(title, total=self.num_steps, unit="steps") as advance,
        ):
            advance(self.state.progress.step)
            while not is_over():
                is_asked_to_stop = take_step(interruption)
                advance(1)
                if is_asked_to_stop:
                    self._stop(interruption)
                is_due = monotonic() - saved >= self.checkpoint_minutes * 60
                if is_due and self.state.progress.step < self.num_steps:
                    self.save()
                    saved = monotonic()
            if interruption.is_noted:  # in the last step
                self._stop(interruption)

    def save(self) -> None:
        """Write a checkpoint, or warn: the next attempt may find space, or a disk that works."""
        if self.is_silent:
            return
        self.state.measure(self.device)
        try:
            with writable(self.checkpoints.folder):
                self.state.save(self.checkpoints)
        except (LogLLMError, OSError, SafetensorError, ValueError) as fault:
            logger.warning(
                "The checkpoint of step {} is not written; training goes on. {} {}",
                *(self.state.progress.step, fault, self.last_checkpoint()),
            )

    def last_checkpoint(self) -> str:
        """A sentence for errors."""
        newest = self.checkpoints.newest()
        return (
            f"The last good checkpoint is {newest.path}." if newest else "No checkpoint was kept."
        )

    def _stop(self, interruption: Interruption) -> NoReturn:
        self.save()
        self._log("{} stops after step {:,} of {:,}; the same command goes on")
        interruption.pass_on()

    def _log(self, message: str) -> None:
        if not self.is_silent:
            logger.info(message, self.name, self.state.progress.step, self.num_steps)
