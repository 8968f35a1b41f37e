"""The steps of one stage: batches, validations, checkpoints.

The state at the end of a step is its number and the weights. All else follows from the recipe's
seed: which windows a batch holds, the rate, and each micro-batch's dropout. So a stage that was cut
off goes on bit for bit, and processes that share the micro-batches drop the same elements as one
alone.
"""

import math
from typing import NoReturn

import numpy as np
import torch
from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.model import devices, weights
from logllm_core.model.logllm import LogLLM
from logllm_core.signals import Interruption
from logllm_core.store.store import Json
from logllm_core.training import sampling
from logllm_core.training.checkpoint import Checkpoints
from logllm_core.training.gradients import Outcome, TrainingMaterial, accumulate
from logllm_core.training.process_team import Team
from logllm_core.training.recipes import Recipe, Stage
from logllm_core.training.resumable_steps import ResumableSteps
from logllm_core.training.stage_plan import Execution
from logllm_core.training.training_state import TrainingState
from logllm_core.training.validation import check_choice, score_validation, validation_steps

TENTHS = 10  # the learning rate falls this often in a stage


class StageRun:
    """One stage under way.

    Args:
        model: trained in place.
        team: this process among those that train the stage together.
        checkpoints: where it goes on from, if anything is there.
    """

    def __init__(
        self,
        model: LogLLM,
        material: TrainingMaterial,
        stage: Stage,
        recipe: Recipe,
        *,
        team: Team,
        checkpoints: Checkpoints,
        execution: Execution,
    ) -> None:
        self.model = model
        self.material = material
        self.stage = stage
        self.recipe = recipe
        self.team = team
        self.batches = material.batches
        self.validation_steps = validation_steps(recipe, len(self.batches))
        size = recipe.micro_batch_size
        trained = set_trainable(model, stage, recipe)
        self.state = TrainingState(
            trained,
            micro_batch_size=self._largest_share if size == "auto" else size,
            rate_factors={name: rate_factor(name, recipe) for name in trained},
        )
        self.steps = ResumableSteps(
            name=f"Stage {stage.name}",
            num_steps=len(self.batches),
            state=self.state,
            checkpoints=checkpoints,
            checkpoint_minutes=execution.checkpoint_minutes,
            device=team.device,
            is_silent=not team.is_first,
        )

    @property
    def _largest_share(self) -> int:
        """Of a batch, for one process."""
        return math.ceil(self.recipe.batch_size / self.team.num_processes)

    def run(self) -> dict[str, Json]:
        """Train to the end, and leave the chosen weights in the model.

        Raises:
            LogLLMError: the loss is not finite, there is not enough memory, the validation split
                cannot choose, or a checkpoint is that of another training; or from
                `ResumableSteps.run`.
        """
        if self.recipe.num_validations:
            check_choice(self.material.validation)
        devices.begin_peak_memory(self.team.device)
        self.steps.go_on()
        if self.recipe.micro_batch_size == "auto":  # a checkpoint may be of fewer processes
            size = min(self.state.progress.micro_batch_size, self._largest_share)
            self.state.change(micro_batch_size=size)
        title = f"Training stage {self.stage.name}"
        self.steps.run(title, self._take_step, self._is_over_after_validation)
        self.state.choose_best()
        self.state.measure(self.team.device)
        return self._results()

    def _take_step(self, interruption: Interruption) -> bool:
        """Returns whether the team was asked to stop."""
        rows = self.batches[self.state.progress.step]
        while (outcome := self._accumulate(rows, interruption)).shortage is not None:
            self._halve(outcome.shortage)
        if not outcome.is_finite:
            self._refuse(outcome.loss, rows)
        rate = learning_rate(self.stage, self.recipe, self.state.progress.step, len(self.batches))
        self.state.take_step(outcome.loss, rate, max_norm=self.recipe.max_gradient_norm)
        return outcome.is_asked_to_stop

    def _accumulate(self, rows: sampling.Indices, interruption: Interruption) -> Outcome:
        return accumulate(
            self.model,
            self.state,
            self.material,
            rows,
            stage_name=self.stage.name,
            recipe=self.recipe,
            team=self.team,
            interruption=interruption,
        )

    def _halve(self, shortage: RuntimeError) -> None:
        """Go on with smaller micro-batches, where the recipe allows it."""
        size, step = self.state.progress.micro_batch_size, self.state.progress.step + 1
        if size == 1 or self.recipe.micro_batch_size != "auto":
            smaller = "Lower it, or let it be found: --set micro_batch_size=auto."
            other = (
                "Lower max_window_messages or max_message_tokens with --set, use --quantization "
                "nf4, or choose smaller --backbones."
            )
            raise LogLLMError(
                f"Stage {self.stage.name}: not enough memory at step {step} with micro_batch_size "
                f"{size}. {other if size == 1 else smaller} {self.steps.last_checkpoint()}"
            ) from shortage
        devices.release_memory(self.team.device)
        self.state.change(micro_batch_size=size // 2)
        logger.info(
            "Not enough memory at step {}: micro_batch_size {} -> {}", step, size, size // 2
        )

    def _refuse(self, loss: float, rows: sampling.Indices) -> NoReturn:
        ids = sorted(self.material.train.window_ids[rows].tolist())
        what = "its gradient is not finite" if math.isfinite(loss) else f"its loss is {loss}"
        raise LogLLMError(
            f"Stage {self.stage.name} stops at step {self.state.progress.step + 1}: {what} "
            f"(windows {ids}). {self.steps.last_checkpoint()} {self._advice}"
        )

    @property
    def _advice(self) -> str:
        """Against numbers that are not finite."""
        rate = f"stages.{self.stage.name}.learning_rate"
        return f"Lower the rate with --set {rate}=N, or use --quantization none."

    def _validate(self) -> None:
        """Score the validation split, and keep the weights if they are the best so far."""
        from sklearn.metrics import average_precision_score

        assert self.material.validation is not None
        labels = self.material.validation.is_anomalous
        scores = score_validation(self.model, self.material, self.team)
        set_trainable(self.model, self.stage, self.recipe)
        if not np.isfinite(scores).all():
            raise LogLLMError(
                f"Stage {self.stage.name} stops at step {self.state.progress.step}: after it, "
                f"scores of the validation split are not finite. {self.steps.last_checkpoint()} "
                f"{self._advice}"
            )
        self.state.judge(float(average_precision_score(labels, scores)))

    def _is_over_after_validation(self) -> bool:
        """Validates where that is due: here, so that a checkpoint can come before it."""
        is_due = self.state.progress.step in self.validation_steps
        if is_due and "validation_pr_auc" not in self.state.rows[-1]:
            self._validate()
        return self._is_over()

    def _is_over(self) -> bool:
        patience, progress = self.recipe.patience, self.state.progress
        is_out_of_patience = (
            patience is not None and progress.num_validations_without_gain >= patience
        )
        return is_out_of_patience or progress.step == len(self.batches)

    def _results(self) -> dict[str, Json]:
        progress, collator = self.state.progress, self.material.collator
        losses = [row["loss"] for row in self.state.rows]
        parameters = self.state.parameters.values()
        return {
            "num_steps": progress.step,
            "num_samples": sum(map(len, self.batches[: progress.step])),
            "num_trained_parameters": sum(weight.numel() for weight in parameters),
            "num_parameters": sum(weight.numel() for weight in self.model.parameters()),
            "num_cut_messages": len(collator.vocabulary.cut_messages),
            "num_cut_windows": sum(map(collator.is_cut, self.material.train.message_ids)),
            "first_loss": losses[0],
            "last_loss": float(np.mean(losses[-10:])),
            "is_stopped_early": progress.step < len(self.batches),
            "best_validation": progress.best.model_dump() if progress.best else None,
            "micro_batch_size": progress.micro_batch_size,
            "num_processes": self.team.num_processes,
            "num_resumes": progress.num_resumes,
            "training_seconds": round(progress.seconds, 3),
            "peak_memory_bytes": progress.peak_memory_bytes,
            "peak_gpu_memory_bytes": progress.peak_gpu_memory_bytes,
        }


def learning_rate(stage: Stage, recipe: Recipe, step: int, num_steps: int) -> float:
    """The rate at a step (from 0).

    It rises in equal steps up to the stage's own while the stage warms up. "tenths" multiplies it
    by the decay after each tenth of the stage; "cosine" lets it fall to 0 along half a cosine.
    """
    num_warmup = round(recipe.warmup_fraction * num_steps)
    rate = stage.learning_rate * min(1.0, (step + 1) / (num_warmup + 1))
    if recipe.rate_schedule == "cosine":
        return rate * (1 + math.cos(math.pi * step / num_steps)) / 2
    return rate * recipe.learning_rate_decay ** (TENTHS * step // num_steps)


def rate_factor(name: str, recipe: Recipe) -> float:
    """What a parameter takes of the rate."""
    return recipe.encoder_rate_factor if name.startswith("encoder.") else 1.0


def set_trainable(model: LogLLM, stage: Stage, recipe: Recipe) -> dict[str, torch.nn.Parameter]:
    """What the stage trains, ready to train as the recipe says."""
    return weights.set_trainable(
        model,
        stage.trains,
        has_lora_dropout=recipe.has_lora_dropout,
        has_encoder_dropout=recipe.has_encoder_dropout,
    )
