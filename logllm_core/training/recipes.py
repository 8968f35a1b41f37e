"""Recipes: the stages and settings of a training, as tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError
from logllm_core.logs.messages import Masking
from logllm_core.model import Embedder, Part, Pooling, Precision, Quantization
from logllm_core.model.prompt import QUESTION

# Of the projector, before stage 1: see logllm_core.training.projector_start.
ProjectorInit = Literal["torch", "aligned", "discriminant"]


class Stage(Settings):
    """One training stage (paper, section IV-C3): what it trains, on how much, how fast."""

    name: str = Field(pattern=r"^[0-9]+(-[0-9]+)?$")
    trains: tuple[Part, ...] = Field(min_length=1)
    num_epochs: int = Field(ge=0)  # 0: the stage is skipped (Table VI)
    learning_rate: float = Field(gt=0)
    num_samples: int | None = Field(default=None, ge=1)  # None: the whole balanced pool
    min_samples: int = 0  # the pool is repeated up to this many


class Recipe(Settings):
    """Everything that shapes a training besides data and backbones."""

    name: str
    stages: tuple[Stage, ...]
    batch_size: int = Field(default=16, ge=1)  # windows per optimiser step
    # Windows per forward pass; "auto": as many of the batch as fit into memory, found by halving.
    micro_batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 4
    beta: float = Field(default=0.3, ge=0, lt=1)  # wanted share of the minority class, eq. (1)
    learning_rate_decay: float = Field(default=1.0, gt=0, le=1)  # at each tenth of a stage
    # "cosine": the rate falls to 0 along half a cosine; "tenths": by learning_rate_decay.
    rate_schedule: Literal["tenths", "cosine"] = "tenths"
    warmup_fraction: float = Field(default=0.0, ge=0, lt=1)  # of a stage, while the rate rises
    max_gradient_norm: float | None = Field(default=None, gt=0)  # a longer gradient is cut to it
    encoder_rate_factor: float = Field(default=1.0, gt=0, le=1)  # of the stage's learning rate
    # An epoch is as long as ever, but each distinct window occurs in it equally often, and every
    # batch holds both classes in the epoch's shares.
    is_even: bool = False
    has_lora_dropout: bool = True  # both as the reference code in fact trains
    has_encoder_dropout: bool = False
    embedder: Embedder = "encoder"  # see logllm_core.model
    pooling: Pooling | None = None  # of the encoder; None: as the backbones have it
    question: str = QUESTION
    # The share of the decoder's layers that is used: see logllm_core.model.assemble.
    decoder_depth: float = Field(default=1.0, gt=0, le=1)
    projector_init: ProjectorInit = "torch"
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)  # of the training part
    # So many times in a stage the validation split is scored, and the stage keeps the weights with
    # the best PR-AUC; with `patience`, it ends after so many times without a better one.
    num_validations: int = Field(default=0, ge=0)
    patience: int | None = Field(default=None, ge=1)
    quantization: Quantization = "nf4"
    precision: Precision = "auto"  # see logllm_core.model
    masking: Masking = "regex"  # the paper's preprocessings, section V-F and Table IV
    max_message_tokens: int = Field(default=100, ge=3)  # with [CLS] and [SEP]
    max_window_messages: int = Field(default=128, ge=1)
    max_window_tokens: int = Field(default=2_048, ge=1)  # of messages as text
    is_compiled: bool = False  # the decoder's layers, by torch.compile
    recomputes_activations: bool = False  # of the decoder's layers: less memory, more time
    seed: int = 0
    overrides: Mapping[str, Any] = Field(
        default_factory=dict
    )  # what was changed in a recipe of the table or of a file

    @field_validator("stages")
    @classmethod
    def _stages_are_told_apart(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if not stages:
            raise ValueError("a recipe needs at least one stage")
        if len({stage.name for stage in stages}) < len(stages):
            raise ValueError("stage names must differ from each other")
        return stages

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> Self:
        if self.num_validations and not self.validation_fraction:
            raise ValueError("num_validations needs a validation_fraction above 0")
        if self.patience and not self.num_validations:
            raise ValueError("patience counts validations: num_validations must be above 0")
        if self.rate_schedule == "cosine" and self.learning_rate_decay != 1:
            raise ValueError("learning_rate_decay belongs to the rate_schedule tenths")
        if self.is_compiled and self.recomputes_activations:
            raise ValueError("is_compiled and recomputes_activations exclude each other")
        if not self.trained_stages:
            raise ValueError("no stage is left to train: each is skipped or trains what is missing")
        return self

    @property
    def shaping(self) -> dict[str, Any]:
        """What decides an outcome besides a stage's own settings, as JSON."""
        return self.model_dump(mode="json", exclude={"name", "stages", "overrides"})

    @property
    def trained_stages(self) -> tuple[Stage, ...]:
        """The stages that are not skipped, each with the parts that this model has.

        Without an embedder there is the decoder alone, and a stage that trains the embedder is
        skipped.
        """
        has: tuple[Part, ...] = _ALL if self.embedder != "none" else ("decoder",)
        kept = [
            stage.model_copy(update={"trains": tuple(part for part in stage.trains if part in has)})
            for stage in self.stages
            if stage.num_epochs
        ]
        return tuple(stage for stage in kept if stage.trains)

    def overridden(self, changes: Mapping[str, Any]) -> Self:
        """This recipe with some settings changed, and what was changed in `overrides`.

        Args:
            changes: by name, those of a stage as `stages.NAME.setting`.

        Raises:
            LogLLMError: there is no such stage or setting, or a value that it cannot have.
        """
        values = self.model_dump()
        stages = {stage["name"]: stage for stage in values["stages"]}
        for key, value in changes.items():
            settings, name = values, key
            if key.startswith("stages."):
                _, stage, name = [*key.split("."), "", ""][:3]
                if stage not in stages or key.count(".") != 2 or name == "name":
                    raise LogLLMError(
                        f"{key} names no setting of a stage of the recipe {self.name}. Its stages "
                        f"are {', '.join(stages)}; write stages.{next(iter(stages))}.num_epochs."
                    )
                settings = stages[stage]
            known = (Stage if settings is not values else type(self)).model_fields.keys()
            if name not in known - {"stages", "name", "overrides"}:
                raise LogLLMError(
                    f"A recipe has no setting {key}. Known: "
                    f"{', '.join(sorted(known - {'stages', 'name', 'overrides'}))}."
                )
            settings[name] = value
        changed = type(self).parse(values, origin=f"The recipe {self.name} with these changes")
        return changed.model_copy(update={"overrides": {**self.overrides, **changes}})


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
        # Minutes on a laptop, with the backbones `small`: higher rates, bounded samples. No stage
        # 2: in so few steps it taught nothing that stage 3 does not. How it was chosen:
        # docs/steadiness.md.
        Recipe(
            name="quick",
            stages=(
                _stage("1", ("decoder",), 1, 2e-3, num_samples=160),
                _stage("3", _ALL, 1, 1e-3, min_samples=1_600, num_samples=3_200),
            ),
            batch_size=8,
            micro_batch_size=8,
            rate_schedule="cosine",
            warmup_fraction=0.2,
            max_gradient_norm=1.0,
            encoder_rate_factor=0.3,
            is_even=True,
            decoder_depth=0.67,
            projector_init="discriminant",
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
        # The paper's stages, settled as `quick` is, for large backbones on a GPU.
        Recipe(
            name="cosine",
            stages=(
                _stage("1", ("decoder",), 1, 5e-4, num_samples=1_000),
                _stage("2", _EMBEDDER, 2, 5e-5),
                _stage("3", _ALL, 2, 5e-5),
            ),
            micro_batch_size="auto",
            rate_schedule="cosine",
            warmup_fraction=0.1,
            max_gradient_norm=1.0,
            is_even=True,
            projector_init="discriminant",
            validation_fraction=0.1,
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
    """The recipe of that name, or the one that a path to a TOML file describes.

    Raises:
        LogLLMError: there is none, or its file has faults.
    """
    if name.endswith(".toml"):
        recipe = Recipe.load(Path(name), name=Path(name).stem)
        if recipe.overrides:
            raise LogLLMError(
                f"{name} sets overrides, which tell what a run changes in a recipe. Remove them, "
                "and write the settings themselves."
            )
        return recipe
    try:
        return RECIPES[name]
    except KeyError:
        known = ", ".join(RECIPES)
        raise LogLLMError(
            f'There is no recipe "{name}". Known: {known}. Choose one with --recipe.'
        ) from None
