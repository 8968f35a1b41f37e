"""Recipes: the stages and settings of a training, as tables."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError
from logllm_core.logs.messages import Masking
from logllm_core.model import Part, Quantization
from logllm_core.model.prompt import QUESTION


class Stage(Settings):
    """One training stage (paper, section IV-C3): what it trains, on how much, how fast."""

    name: str = Field(pattern=r"^[0-9]+(-[0-9]+)?$")
    trains: tuple[Part, ...] = Field(min_length=1)
    num_epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    num_samples: int | None = Field(default=None, ge=1)  # None: the whole balanced pool
    min_samples: int = 0  # the pool is repeated up to this many


class Recipe(Settings):
    """Everything that shapes a training besides data and backbones."""

    name: str
    stages: tuple[Stage, ...]
    batch_size: int = Field(default=16, ge=1)  # windows per optimiser step
    micro_batch_size: int = Field(default=4, ge=1)  # windows per forward pass
    beta: float = Field(default=0.3, ge=0, lt=1)  # wanted share of the minority class, eq. (1)
    learning_rate_decay: float = Field(default=1.0, gt=0, le=1)  # at each tenth of a stage
    # An epoch is as long as ever, but each distinct window occurs in it equally often.
    is_even: bool = False
    question: str = QUESTION
    projector_init: Literal["torch", "aligned"] = "torch"  # see LogLLM.align_projector
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)  # of the training part
    quantization: Quantization = "nf4"
    masking: Masking = "regex"  # the paper's preprocessings, section V-F and Table IV
    max_message_tokens: int = Field(default=100, ge=3)  # with [CLS] and [SEP]
    max_window_messages: int = Field(default=128, ge=1)
    seed: int = 0

    @field_validator("stages")
    @classmethod
    def _stages_are_told_apart(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if not stages:
            raise ValueError("a recipe needs at least one stage")
        if len({stage.name for stage in stages}) < len(stages):
            raise ValueError("stage names must differ from each other")
        return stages


_EMBEDDER: tuple[Part, ...] = ("projector", "encoder")
_ALL: tuple[Part, ...] = ("projector", "encoder", "decoder")


def _stage(
    name: str, trains: tuple[Part, ...], num_epochs: int, learning_rate: float, **more: int
) -> Stage:
    values = {"name": name, "trains": trains, "num_epochs": num_epochs}
    return Stage.model_validate(values | {"learning_rate": learning_rate} | more)


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # Minutes on a laptop, with the backbones `small`: higher rates, bounded samples.
        Recipe(
            name="quick",
            stages=(
                _stage("1", ("decoder",), 1, 2e-3, num_samples=160),
                _stage("2", _EMBEDDER, 1, 2e-3, num_samples=400),
                _stage("3", _ALL, 1, 1e-3, min_samples=1_700, num_samples=6_000),
            ),
            batch_size=8,
            micro_batch_size=8,
            learning_rate_decay=0.7,
            is_even=True,
            projector_init="aligned",
            validation_fraction=0.1,
            quantization="none",
        ),
        # Section V-B.
        Recipe(
            name="paper",
            stages=(
                _stage("1", ("decoder",), 1, 5e-4, num_samples=1_000),
                _stage("2", _EMBEDDER, 2, 5e-5),
                _stage("3", _ALL, 2, 5e-5),
            ),
        ),
        # As the public code trains: stage 2 in two steps, 50,000 samples at least, rates that fall.
        Recipe(
            name="reference",
            stages=(
                _stage("1", ("decoder",), 1, 5e-4, num_samples=1_000),
                _stage("2-1", ("projector",), 1, 5e-4, min_samples=50_000),
                _stage("2-2", _EMBEDDER, 1, 5e-5, min_samples=50_000),
                _stage("3", _ALL, 2, 5e-5, min_samples=50_000),
            ),
            learning_rate_decay=0.7,
        ),
    )
}


def recipe_named(name: str) -> Recipe:
    try:
        return RECIPES[name]
    except KeyError:
        known = ", ".join(RECIPES)
        raise LogLLMError(
            f'There is no recipe "{name}". Known: {known}. Choose one with --recipe.'
        ) from None
