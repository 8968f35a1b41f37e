"""What a person decides about a run; the parameters of every flow and deployment.

A field's description is its help: the command line makes an option of each field
(flows/cli/settings_options.py), and Prefect shows it beside the parameter.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from flows.data_settings import DataSettings, PrepareSettings
from logllm_core.config import Settings
from logllm_core.daily.champion.drift_limits import DriftLimits
from logllm_core.errors import LogLLMError
from logllm_core.logs.messages import Masking
from logllm_core.model import Quantization
from logllm_core.model.sources.named_backbones import backbones_named
from logllm_core.training.recipes import Recipe, recipe_named
from logllm_core.training.stage_plan import Execution

# Of a champion's recipe: it must judge what a candidate does.
FIXED = {"masking", "embedder", "pooling"}
OVERRIDES = {"masking", "quantization", "seed"}  # settings of a recipe that a run may change
CHANGES = "Change the recipe, such as stages.3.num_epochs=5 or batch_size=8. May be repeated."


class RunSettings(PrepareSettings):
    """By which recipe a run goes."""

    recipe: str = Field(
        default="quick",
        description="quick, paper, cosine, reference, or a TOML file of your own.",
    )
    masking: Masking | None = Field(
        default=None,
        description="regex, none, drain-template or drain-id. Default: the recipe's.",
    )
    overrides: Mapping[str, Any] = Field(default_factory=dict, description=CHANGES)

    def find_recipe(self) -> Recipe:
        return recipe_named(self.recipe).overridden(self._changes())

    def check(self, name: str) -> None:
        super().check(name)
        self.find_recipe()

    @property
    def recipe_overrides(self) -> Mapping[str, Any]:
        return self.overrides

    def _changes(self) -> dict[str, object]:
        """What differs from the recipe."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name in OVERRIDES}
        chosen = {name: value for name, value in given.items() if value is not None}
        if twice := sorted(chosen.keys() & self.recipe_overrides.keys()):
            raise LogLLMError(f"{', '.join(twice)} is given twice: in --set, and as an option.")
        return dict(self.recipe_overrides) | chosen


class ExecutionSettings(Settings):
    """How stages are trained; nothing of it shapes what comes out."""

    checkpoint_minutes: float = Field(
        default=10.0, ge=0, description="At most so much training a crash may cost."
    )
    num_processes: int = Field(
        default=1, ge=1, description="Train in so many processes, one a GPU."
    )

    @property
    def execution(self) -> Execution:
        return Execution(
            checkpoint_minutes=self.checkpoint_minutes, num_processes=self.num_processes
        )


class TrainSettings(ExecutionSettings, RunSettings):
    """What a training needs besides: backbones, and what may differ from the recipe."""

    backbones: str = Field(
        default="small",
        description="small, llama3.2-1b, llama3-8b (the paper's), or ENCODER,DECODER.",
    )
    quantization: Quantization | None = Field(
        default=None, description="nf4 or none. Default: the recipe's."
    )
    seed: int | None = Field(default=None, description="Default: the recipe's.")
    num_seeds: int = Field(
        default=1,
        ge=1,
        description="Train with so many seeds, from --seed upwards, and tell the spread.",
    )
    keep: Literal["first", "best"] = Field(
        default="first",
        description="Of several seeds, the one that is reported and becomes champion: first, or "
        "best, as the validation split ranks them.",
    )

    def check(self, name: str) -> None:
        from logllm_core.training.sampling import check_labelled  # its windows are DuckDB's

        super().check(name)
        self.find_recipes()
        backbones_named(self.backbones)
        dataset = self.find_dataset(name)
        check_labelled(dataset.name, is_labelled=dataset.labels is not None)

    @property
    def chooses_seed(self) -> bool:
        return self.keep == "best" and self.num_seeds > 1

    def find_recipes(self) -> list[Recipe]:
        """The recipe, and the same with each of the further seeds.

        Raises:
            LogLLMError: one of them is to be kept by a validation split that the recipe lacks.
        """
        first = self.find_recipe()
        if self.chooses_seed and not first.validation_fraction:
            raise LogLLMError(
                f"The recipe {first.name} has no validation split (validation_fraction is 0), and "
                "--keep best chooses a seed by it. Give --set validation_fraction=0.1, or --keep "
                "first."
            )
        further = range(first.seed + 1, first.seed + self.num_seeds)
        return [first, *(first.overridden({"seed": seed}) for seed in further)]


class CompareSettings(TrainSettings):
    """What a comparison of all methods needs: LogLLM's training, and which others to run."""

    only: tuple[str, ...] = Field(
        default=(),
        description="deeplog, loganomaly, plelog, fastlogad, logbert, logrobust, cnn, neurallog, "
        "rapid or logllm. May be repeated. Default: all.",
    )
    overrides: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Change the recipe, such as stages.3.num_epochs=5, or a method, such as "
        "deeplog.num_epochs=2. May be repeated.",
    )
    keep: Literal["first"] = "first"  # chosen among seeds, LogLLM alone would have an advantage

    @property
    def method_changes(self) -> dict[str, Any]:
        """The overrides of methods: a recipe's own have no dot, or are of a stage."""
        return {
            name: value
            for name, value in self.overrides.items()
            if "." in name and not name.startswith("stages.")
        }

    @property
    def recipe_overrides(self) -> Mapping[str, Any]:
        of_methods = self.method_changes
        return {key: value for key, value in self.overrides.items() if key not in of_methods}


class AblateSettings(TrainSettings):
    """What an ablation needs: the recipe that variants differ from, and which of them to run."""

    only: tuple[str, ...] = Field(
        default=(),
        description="A group (preprocessing, embedder, stages, beta, window-length, seeds) or a "
        "variant, such as raw, without-1-2 or beta-0.5. May be repeated. Default: all.",
    )
    sizes: tuple[str, ...] = Field(
        default=(),
        description="Further backbones, to compare sizes of the decoder. May be repeated.",
    )
    num_seeds: int = Field(default=3, ge=1, description="So many seeds, from --seed upwards.")
    keep: Literal["first"] = "first"  # each seed is a variant of its own, with a run of its own


class DetectSettings(DataSettings):
    """What judging new logs needs; all else is the champion's."""

    drift: DriftLimits = DriftLimits()


class RetrainSettings(ExecutionSettings, PrepareSettings):
    """What a retraining may choose; recipe, masking and backbones are the champion's."""

    start: Literal["champion", "scratch"] = Field(
        default="champion",
        description="champion: train the recipe's last stage from the champion's adapters. "
        "scratch: all stages anew.",
    )
    overrides: Mapping[str, Any] = Field(default_factory=dict, description=CHANGES)
    keep_models: int = Field(
        default=5,
        ge=1,
        description="Keep so many models that were promoted, and as many that were not.",
    )
    drift: DriftLimits = DriftLimits()

    @field_validator("overrides")
    @classmethod
    def _both_read_the_same_messages(cls, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
        if fixed := sorted(overrides.keys() & FIXED):
            raise ValueError(
                f"{', '.join(fixed)} must stay as the champion has it; train a model of another "
                "kind with logllm train, and promote that"
            )
        return overrides
