"""What a person decides about a run; the parameters of every flow and deployment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from flows.data_folder import checked_data_dir
from logllm_core.config import Settings
from logllm_core.daily.champion.drift_limits import DriftLimits
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, find_dataset
from logllm_core.logs.messages import Masking
from logllm_core.model import Quantization
from logllm_core.store.store import Store
from logllm_core.training.recipes import Recipe, recipe_named
from logllm_core.training.stage_plan import Execution

RunnerName = Literal["threads", "processes", "ray"]
MIRROR_VARIABLE = "LOGLLM_MIRROR"
FIXED = {
    "masking",
    "embedder",
    "pooling",
}  # of a champion's recipe: it must judge what a candidate does
OVERRIDES = {"masking", "quantization", "seed"}  # settings of a recipe that a run may change
TRACKED_CATALOG = Path(__file__).resolve().parents[1] / "data" / "datasets"


class DataSettings(Settings):
    """Where data sets, artifacts and champions are."""

    data_dir: Path = Path("data")
    remote: str | None = None  # s3://bucket/path or any fsspec address: finished artifacts, shared

    @field_validator("data_dir")
    @classmethod
    def _data_dir_is_a_folder(cls, data_dir: Path) -> Path:
        return checked_data_dir(data_dir)

    @property
    def store(self) -> Store:
        return Store(data_dir=self.data_dir, remote=self.remote)

    @property
    def catalog_dirs(self) -> list[Path]:
        return [self.data_dir / "datasets", TRACKED_CATALOG]

    def find_dataset(self, name: str) -> Dataset:
        return find_dataset(name, self.catalog_dirs)


class PrepareSettings(DataSettings):
    """How a raw log is obtained and read."""

    mirror: Path | None = None  # default: the environment variable LOGLLM_MIRROR
    runner: RunnerName = "threads"  # of the shards of a log of many files
    num_shards: int | None = Field(default=None, ge=1)  # default: one a core

    @property
    def archive_mirror(self) -> Path | None:
        named = os.environ.get(MIRROR_VARIABLE)
        return self.mirror or (Path(named) if named else None)


class RunSettings(PrepareSettings):
    """By which recipe a run goes."""

    recipe: str = "quick"  # a name, or a TOML file with a recipe of one's own
    masking: Masking | None = None  # default: the recipe's
    overrides: Mapping[str, Any] = Field(
        default_factory=dict
    )  # of the recipe: {"stages.3.num_epochs": 5}

    def find_recipe(self) -> Recipe:
        if self.recipe.endswith(".toml"):
            recipe = Recipe.load(Path(self.recipe), name=Path(self.recipe).stem)
        else:
            recipe = recipe_named(self.recipe)
        if recipe.overrides:
            raise LogLLMError(
                f"{self.recipe} sets overrides, which tell what a run changes in a recipe. Remove "
                "them, and write the settings themselves."
            )
        return recipe.overridden(self._changes())

    @property
    def recipe_overrides(self) -> Mapping[str, Any]:
        return self.overrides

    def _changes(self) -> dict[str, object]:
        """What differs from the recipe."""
        found = {name: getattr(self, name) for name in type(self).model_fields if name in OVERRIDES}
        chosen = {name: value for name, value in found.items() if value is not None}
        if twice := sorted(chosen.keys() & self.recipe_overrides.keys()):
            raise LogLLMError(f"{', '.join(twice)} is given twice: in --set, and as an option.")
        return dict(self.recipe_overrides) | chosen


class TrainSettings(RunSettings):
    """What a training needs besides: backbones, and what may differ from the recipe."""

    backbones: str = "small"
    quantization: Quantization | None = None  # default: the recipe's
    seed: int | None = None  # default: the recipe's
    num_seeds: int = Field(default=1, ge=1)  # trained one after the other, from `seed` upwards
    # Of several seeds the one that the report is about: the first, or the one that the validation
    # split prefers.
    keep: Literal["first", "best"] = "first"
    checkpoint_minutes: float = Field(default=10.0, ge=0)  # of training that a crash may cost
    num_processes: int = Field(default=1, ge=1)  # that train a stage together, one a GPU

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

    @property
    def execution(self) -> Execution:
        return Execution(
            checkpoint_minutes=self.checkpoint_minutes, num_processes=self.num_processes
        )


class CompareSettings(TrainSettings):
    """What a comparison of all methods needs: LogLLM's training, and which others to run."""

    # deeplog, ... and logllm; none named: all. `overrides` may hold settings of methods, too:
    # {"deeplog.num_epochs": 2}
    only: tuple[str, ...] = ()
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

    only: tuple[str, ...] = ()  # groups and variants, by name; none named: all
    sizes: tuple[str, ...] = ()  # further backbones, for Table V
    num_seeds: int = Field(default=3, ge=1)  # of the group "seeds"
    keep: Literal["first"] = "first"  # each seed is a variant of its own, with a run of its own


class DetectSettings(DataSettings):
    """What judging new logs needs; all else is the champion's."""

    drift: DriftLimits = DriftLimits()


class RetrainSettings(PrepareSettings):
    """What a retraining may choose; recipe, masking and backbones are the champion's."""

    start: Literal["champion", "scratch"] = "champion"  # whose adapters the candidate begins with
    overrides: Mapping[str, Any] = Field(default_factory=dict)  # of the champion's recipe
    # So many models that were promoted are kept, to go back to, and as many that were not.
    keep_models: int = Field(default=5, ge=1)
    drift: DriftLimits = DriftLimits()
    checkpoint_minutes: float = Field(default=10.0, ge=0)  # of training that a crash may cost
    num_processes: int = Field(default=1, ge=1)  # that train a stage together, one a GPU

    @field_validator("overrides")
    @classmethod
    def _both_read_the_same_messages(cls, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
        if fixed := sorted(overrides.keys() & FIXED):
            raise ValueError(
                f"{', '.join(fixed)} must stay as the champion has it; train a model of another "
                "kind with logllm train, and promote that"
            )
        return overrides

    @property
    def execution(self) -> Execution:
        return Execution(
            checkpoint_minutes=self.checkpoint_minutes, num_processes=self.num_processes
        )
