"""Trained weights on disk: projector and adapters in safetensors, nothing that needs unpickling."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from logllm_core.model import backbones
from logllm_core.model.batches import MessageTokenizer
from logllm_core.model.logllm import LogLLM
from logllm_core.model.places import Places
from logllm_core.store import Artifact
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import derived_seed

WEIGHTS = "trainable.safetensors"


def save_weights(model: LogLLM, folder: Path) -> None:
    save_file(backbones.trainable_state(model), folder / WEIGHTS)


def load_model(
    places: Places,
    recipe: Recipe,
    trained: Artifact | None,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[LogLLM, MessageTokenizer]:
    """The model as a stage left it, or with the recipe's seeded fresh weights.

    Args:
        trained: the artifact of a stage; None before the first.
    """
    torch.manual_seed(derived_seed(recipe.seed, "weights"))
    model, tokenizer = backbones.load_backbones(
        places,
        quantization=recipe.quantization,
        device=device,
        dtype=dtype,
        question=recipe.question,
    )
    if trained is not None:
        backbones.load_trainable_state(model, load_file(trained.path / WEIGHTS))
    return model, tokenizer
