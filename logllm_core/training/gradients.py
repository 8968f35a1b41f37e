"""The gradient of one batch: micro-batch by micro-batch, shared among processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.model import devices
from logllm_core.model.batches import Collator, EncoderVectors
from logllm_core.model.logllm import LogLLM
from logllm_core.signals import Interruption
from logllm_core.training.launch import Team
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import Indices, derived_seed
from logllm_core.training.state import StageState


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """What a stage learns from, and what it is measured on meanwhile."""

    train: Windows
    validation: Windows | None
    collator: Collator
    batches: list[Indices]  # places of each step's windows among those of `train`
    vectors: EncoderVectors | None  # of all these windows' messages, where the encoder is frozen


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Of one attempt at a batch, by all processes."""

    loss: float  # token-mean over the batch
    is_finite: bool  # the loss, and every gradient
    is_asked_to_stop: bool  # any process
    shortage: RuntimeError | None  # there was not enough memory; the gradients mean nothing


def accumulate(
    model: LogLLM,
    state: StageState,
    material: Material,
    places: Indices,
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
        places: of the batch's windows among the training windows.
    """
    state.optimizer.zero_grad(set_to_none=False)
    assert material.train.is_anomalous is not None
    num_tokens = _num_answer_tokens(model, material.train.is_anomalous[places].tolist())
    loss, shortage = torch.zeros((), device=team.device), None
    windows = [material.train.message_ids[place] for place in places]
    parts = list(material.collator.of_like_length(windows, state.progress.micro_batch_size))
    starts = np.cumsum([0, *map(len, parts)])[:-1]
    try:
        for number, (start, part) in enumerate(zip(starts.tolist(), parts, strict=True)):
            if number % team.num_processes != team.rank:
                continue
            words = ("dropout", stage_name, str(state.progress.step), str(start))
            torch.manual_seed(derived_seed(recipe.seed, *words))
            labels = material.train.is_anomalous[places[part]].tolist()
            batch = material.collator.training_batch(
                [windows[place] for place in part], labels, material.vectors
            )
            share = _num_answer_tokens(model, labels) / num_tokens
            part = model(batch.to(team.device)) * share
            part.backward()
            loss += part.detach()
    except RuntimeError as fault:
        if not devices.is_out_of_memory(fault):
            raise
        # Without the frames that it came through, which hold the tensors of the failed attempt.
        shortage = fault.with_traceback(None)
    return _summed(state, team, loss, shortage, interruption.is_noted)


def _num_answer_tokens(model: LogLLM, labels: Sequence[bool]) -> int:
    return sum(len(model.prompt.answers[int(label)]) for label in labels)


def _summed(
    state: StageState,
    team: Team,
    loss: torch.Tensor,
    shortage: RuntimeError | None,
    is_asked_to_stop: bool,
) -> Outcome:
    """The gradients and the outcome of all processes, the same in each, so that they act alike.

    The trained weights are few, so one sum a step is cheap, and a process without a micro-batch is
    no special case.
    """
    told = torch.tensor([float(is_asked_to_stop), float(shortage is not None)], device=team.device)
    told = torch.cat([loss[None], told])
    if team.num_processes > 1:
        gradients = state.gradients
        flat = team.sum(torch.cat([*(found.flatten() for found in gradients), told]))
        sizes = [*(found.numel() for found in gradients), len(told)]
        *parts, told = torch.split(flat, sizes)
        for found, part in zip(gradients, parts, strict=True):
            found.copy_(part.view_as(found))
    total, num_asked, num_short = told.tolist()
    if num_short and shortage is None:
        shortage = RuntimeError("another process had not enough memory")
    is_finite = bool(told[0].isfinite()) and all(
        bool(found.isfinite().all()) for found in state.gradients
    )
    return Outcome(
        loss=total, is_finite=is_finite, is_asked_to_stop=num_asked > 0, shortage=shortage
    )
