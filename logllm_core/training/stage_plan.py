"""What one stage of a training is: what decides its outcome, and how it is run."""

import math
from dataclasses import dataclass

from logllm_core.errors import LogLLMError
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.store.store import Artifact, Json
from logllm_core.training.recipes import Recipe, Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """One stage of one training: what decides its outcome, and so what it is found by."""

    dataset: str
    stage: Stage
    recipe: Recipe
    folders: BackboneFolders
    messages: Artifact
    windows: Artifact
    previous: Artifact | None  # the stage before, None for the first

    @property
    def config(self) -> dict[str, Json]:
        return {
            "stage": self.stage.model_dump(mode="json"),
            "recipe": self.recipe.shaping,
            "backbones": self.folders.identity,
        }

    @property
    def inputs(self) -> dict[str, Artifact]:
        prepared = {"messages": self.messages, "windows": self.windows}
        return prepared | {"previous": self.previous} if self.previous else prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a stage is run.

    But for rounding none of it shapes what comes out, unless micro_batch_size is "auto": dropout
    depends on the micro-batches, and their size then on the processes and their memory.
    """

    checkpoint_minutes: float = 10.0
    num_processes: int = 1


def check_shares(recipe: Recipe, num_processes: int) -> None:
    """Processes share a batch by its micro-batches.

    Raises:
        LogLLMError: there is not enough work for all.
    """
    size = 1 if recipe.micro_batch_size == "auto" else recipe.micro_batch_size
    num_busy = math.ceil(recipe.batch_size / size)
    if num_busy < num_processes:
        raise LogLLMError(
            f"A batch of {recipe.batch_size} windows in micro-batches of {size} "
            f"has work for {num_busy} of {num_processes} processes. Give --set micro_batch_size="
            f"{max(recipe.batch_size // num_processes, 1)}, or fewer --processes."
        )
