"""The gradient of one batch: micro-batch by micro-batch, shared among processes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.model import devices
from logllm_core.model.batches import Collator, WindowBatch
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.logllm import LogLLM
from logllm_core.signals import Interruption
from logllm_core.training.process_team import Team
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import Indices, derived_seed
from logllm_core.training.training_state import TrainingState


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingMaterial:
    """What a stage learns from, and what it is measured on meanwhile."""

    train: Windows
    validation: Windows | None
    collator: Collator
    batches: list[Indices]  # rows of `train`, of each step's windows
    vectors: EncoderVectors | None  # of all these windows' messages, where the encoder is frozen

    def labels(self, rows: Indices) -> list[bool]:
        assert self.train.is_anomalous is not None
        labels: list[bool] = self.train.is_anomalous[rows].tolist()
        return labels

    def batch(self, rows: Indices) -> WindowBatch:
        windows = [self.train.message_ids[row] for row in rows]
        return self.collator.training_batch(windows, self.labels(rows), self.vectors)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Of one attempt at a batch, by all processes."""

    loss: float  # token-mean over the batch
    is_finite: bool  # the loss, and every gradient
    is_asked_to_stop: bool  # any process
    shortage: RuntimeError | None  # there was not enough memory; the gradients mean nothing


def accumulate(
    model: LogLLM,
    state: TrainingState,
    material: TrainingMaterial,
    rows: Indices,
    *,
    stage_name: str,
    recipe: Recipe,
    team: Team,
    interruption: Interruption,
) -> Outcome:
    """Leave the batch's gradients in the state's parameters.

    Windows of like length share a micro-batch; each has a seed of its own, so that dropout does not
    depend on which process takes it. The answers' tokens weigh alike, whatever the micro-batches.

    Args:
        rows: of the batch's windows among the training windows.
    """
    state.optimizer.zero_grad(set_to_none=False)
    num_tokens = _num_answer_tokens(model, material.labels(rows))
    windows = [material.train.message_ids[row] for row in rows]
    parts = material.collator.of_like_length(windows, state.progress.micro_batch_size)
    loss, shortage = torch.zeros((), device=team.device), None
    try:
        for start, part in _shared_out(parts, team):
            words = ("dropout", stage_name, str(state.progress.step), str(start))
            torch.manual_seed(derived_seed(recipe.seed, *words))
            share = _num_answer_tokens(model, material.labels(rows[part])) / num_tokens
            part_loss = model(material.batch(rows[part]).to(team.device)) * share
            part_loss.backward()
            loss += part_loss.detach()
    except RuntimeError as fault:
        if not devices.is_out_of_memory(fault):
            raise
        # Without the frames that it came through, which hold the tensors of the failed attempt.
        shortage = fault.with_traceback(None)
    return _summed(state, team, loss, shortage, interruption.is_noted)


def _shared_out(parts: Iterable[Indices], team: Team) -> Iterator[tuple[int, Indices]]:
    """The micro-batches that this process takes, each with its start among the batch's windows."""
    start = 0
    for number, part in enumerate(parts):
        if number % team.num_processes == team.rank:
            yield start, part
        start += len(part)


def _num_answer_tokens(model: LogLLM, labels: list[bool]) -> int:
    return sum(len(model.prompt.answers[int(label)]) for label in labels)


def _summed(
    state: TrainingState,
    team: Team,
    loss: torch.Tensor,
    shortage: RuntimeError | None,
    is_asked_to_stop: bool,
) -> Outcome:
    """The gradients and the outcome of all processes, the same in each, so that they act alike.

    The trained weights are few, so one sum a step is cheap, and a process without a micro-batch is
    no special case.
    """
    flags = torch.tensor([float(is_asked_to_stop), float(shortage is not None)], device=team.device)
    totals = torch.cat([loss[None], flags])
    if team.num_processes > 1:
        gradients = state.gradients
        flat = team.sum(torch.cat([*(gradient.flatten() for gradient in gradients), totals]))
        sizes = [*(gradient.numel() for gradient in gradients), len(totals)]
        *parts, totals = torch.split(flat, sizes)
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
    total, num_asked, num_short = totals.tolist()
    if num_short and shortage is None:
        shortage = RuntimeError("another process had not enough memory")
    is_finite = bool(totals[0].isfinite()) and all(
        bool(gradient.isfinite().all()) for gradient in state.gradients
    )
    return Outcome(
        loss=total, is_finite=is_finite, is_asked_to_stop=num_asked > 0, shortage=shortage
    )
