"""A small log, two-layer backbones and their weights as artifacts, for what asks a model."""

import random
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.model import backbones
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.scoring import predictions
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import Recipe, recipe_named
from logllm_core.training.trained_model import load_model, save_weights
from tests import tiny
from tests.logs.samples import EPOCH, labelled_by_line, messages_of

CPU = torch.device("cpu")
TEXTS = ["alpha read ok", "beta write ok", "gamma disk failed", "delta"]
NUM_LINES = 160  # in windows of four: 24 to train, 8 to validate, 8 to test


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a prediction is made from."""

    store: Store
    recipe: Recipe
    folders: BackboneFolders
    messages: Artifact
    windows: Artifact
    trained: Artifact

    def predict(self) -> Artifact:
        return predictions.predict(
            self.store,
            "own",
            recipe=self.recipe,
            folders=self.folders,
            messages=self.messages,
            windows=self.windows,
            trained=self.trained,
        )


def recipe_with(**changes: Any) -> Recipe:
    sizes = {"max_message_tokens": 16, "precision": "float32"}
    return recipe_named("quick").overridden({**sizes, **changes})


def prepare(folder: Path, *, is_labelled: bool = True, **changes: Any) -> Setting:
    """A log of four messages, and the fresh weights of a seed as if they were trained.

    Made once for all tests that ask for the same, and copied: what a test damages is its own.
    """
    asked = repr((is_labelled, sorted(changes.items())))
    if asked not in _MADE:
        _MADE[asked] = _make(Path(tempfile.mkdtemp(dir=_TEMPLATES.name)), is_labelled, changes)
    made = _MADE[asked]
    template = made.store.data_dir.parent
    shutil.copytree(template, folder, dirs_exist_ok=True)

    def copied(artifact: Artifact) -> Artifact:
        return replace(artifact, path=folder / artifact.path.relative_to(template))

    store = Store(data_dir=folder / "data")
    return Setting(
        store=store,
        recipe=made.recipe,
        folders=backbones.find_backbones(store, _tiny(folder)),
        messages=copied(made.messages),
        windows=copied(made.windows),
        trained=copied(made.trained),
    )


_TEMPLATES = tempfile.TemporaryDirectory(prefix="logllm-settings-")
_MADE: dict[str, Setting] = {}  # by what was asked for


def _tiny(folder: Path) -> str:
    return f"{folder / 'tiny' / 'encoder'},{folder / 'tiny' / 'decoder'}"


def _make(folder: Path, is_labelled: bool, changes: dict[str, Any]) -> Setting:
    dice = random.Random(0)
    log = folder / "own.log"
    texts = [*TEXTS, *dice.choices(TEXTS, k=NUM_LINES - len(TEXTS))]  # the shortest is the last
    log.write_text("".join(f"- {EPOCH + n} {text}\n" for n, text in enumerate(texts)))
    dataset = labelled_by_line(log, **({} if is_labelled else {"labels": None}))
    store = Store(data_dir=folder / "data")
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.25)
    folders = backbones.find_backbones(store, tiny.save(folder / "tiny"))
    recipe = recipe_with(**changes)

    def train(out_dir: Path) -> dict[str, object]:
        model, _ = load_model(folders, recipe, None, messages=messages, windows=windows, device=CPU)
        save_weights(model, out_dir)
        return {}

    config = {"recipe": recipe.shaping, "backbones": folders.identity}
    trained = store.reuse_or_build(
        "models", "own", config=config, inputs={}, version=1, build=train
    )
    return Setting(
        store=store,
        recipe=recipe,
        folders=folders,
        messages=messages,
        windows=windows,
        trained=trained,
    )
