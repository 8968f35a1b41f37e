"""What a person decides about a run; the parameters of every flow and deployment."""

import os
from pathlib import Path

from logllm_core.config import Settings
from logllm_core.logs.catalog import Dataset, find_dataset
from logllm_core.model import Quantization
from logllm_core.store import Store
from logllm_core.training.recipes import Recipe, recipe_named

MIRROR_VARIABLE = "LOGLLM_MIRROR"
TRACKED_CATALOG = Path(__file__).resolve().parents[1] / "data" / "datasets"


class RunSettings(Settings):
    """Where a run finds its data, and by which recipe it goes."""

    data_dir: Path = Path("data")
    mirror: Path | None = None  # default: the environment variable LOGLLM_MIRROR
    recipe: str = "quick"  # a name, or a TOML file with a recipe of one's own

    @property
    def store(self) -> Store:
        return Store(data_dir=self.data_dir)

    @property
    def archive_mirror(self) -> Path | None:
        named = os.environ.get(MIRROR_VARIABLE)
        return self.mirror or (Path(named) if named else None)

    @property
    def catalog_dirs(self) -> list[Path]:
        return [self.data_dir / "datasets", TRACKED_CATALOG]

    def find_dataset(self, name: str) -> Dataset:
        return find_dataset(name, self.catalog_dirs)

    def find_recipe(self) -> Recipe:
        if self.recipe.endswith(".toml"):
            return Recipe.load(Path(self.recipe), name=Path(self.recipe).stem)
        return recipe_named(self.recipe)


class TrainSettings(RunSettings):
    """What a training needs besides: backbones, and what may differ from the recipe."""

    backbones: str = "small"
    quantization: Quantization | None = None  # default: the recipe's
    seed: int | None = None  # default: the recipe's

    def find_recipe(self) -> Recipe:
        changes = {"quantization": self.quantization, "seed": self.seed}
        return (
            super()
            .find_recipe()
            .model_copy(
                update={name: value for name, value in changes.items() if value is not None}
            )
        )
