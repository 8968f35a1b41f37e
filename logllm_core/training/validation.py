"""The validation split during a stage: when it is scored, and by whom."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.model.logllm import LogLLM
from logllm_core.model.window_answers import score_windows
from logllm_core.training.gradients import TrainingMaterial
from logllm_core.training.process_team import Team
from logllm_core.training.recipes import Recipe


def validation_steps(recipe: Recipe, num_steps: int) -> frozenset[int]:
    """After which of a stage's steps the validation split is scored."""
    wanted = recipe.num_validations
    return frozenset(math.ceil(num_steps * number / wanted) for number in range(1, wanted + 1))


def check_choice(validation: Windows | None) -> None:
    """PR-AUC needs both kinds of windows.

    Raises:
        LogLLMError: how many there are of each.
    """
    labels = None if validation is None else validation.is_anomalous
    num_windows = 0 if validation is None else len(validation)
    num_anomalous = 0 if labels is None else int(labels.sum())
    if num_anomalous in (0, num_windows):
        raise LogLLMError(
            "The best weights are to be kept by the validation split, but "
            f"{num_anomalous:,} of its {num_windows:,} windows are anomalous; both kinds are "
            "needed. Raise validation_fraction, or set num_validations to 0."
        )


def score_validation(model: LogLLM, material: TrainingMaterial, team: Team) -> NDArray[np.float64]:
    """The validation windows' probabilities; each process scores its share, all get all.

    Leaves the model with nothing to train.
    """
    assert material.validation is not None
    share = slice(team.rank, None, team.num_processes)
    scores = torch.zeros(len(material.validation), dtype=torch.float64)
    windows = material.validation.message_ids[share]
    probabilities = score_windows(model, material.collator, windows, material.vectors)
    scores[share] = torch.from_numpy(probabilities)
    total: NDArray[np.float64] = team.sum(scores.to(team.device)).cpu().numpy()
    return total
