"""A champion of two layers, and logs that are new to it."""

import random
from pathlib import Path
from typing import Any

from logllm_core.daily.champion.decisions import Decision, champion_path
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.store.disk import replace_file
from logllm_core.store.sealed_json import seal
from logllm_core.store.store import Artifact
from tests.logs.samples import EPOCH, labelled_by_line
from tests.scoring.setting import TEXTS, Setting, prepare

DATASET = """
title = "A log of our own"
[source]
kind = "file"
path = "../../own.log"
[line]
fields = ["label", "epoch", "content"]
time_fields = ["epoch"]
time_format = "epoch"
[labels]
kind = "field"
[windows]
kind = "count"
length = 4
"""
# Fresh weights answer one word to all windows; a decision among their answers parts them.
MIDDLE = 0.062


def crown(setting: Setting, trained: Artifact | None = None, **changes: Any) -> None:
    """Make a trained stage the champion of "own"."""
    trained = trained or setting.trained
    path = champion_path(setting.store, "own")
    tiny_dir = setting.store.data_dir.parent / "tiny"
    made = Decision(
        run="0" * 16,
        trained=trained.fingerprint,
        stages=(trained.fingerprint,),
        previous=None,
        messages=setting.messages.fingerprint,
        windows=setting.windows.fingerprint,
        recipe=setting.recipe,
        backbones=f"{tiny_dir / 'encoder'},{tiny_dir / 'decoder'}",
        decided="2026-01-01T00:00:00+00:00",
        is_promoted=True,
        reason="A test.",
    ).model_copy(update=changes)
    replace_file(path, seal({"decisions": [made.model_dump(mode="json")]}))


def prepare_champion(folder: Path, **changes: Any) -> Setting:
    """`folder/data` with the data set "own" and its champion."""
    setting = prepare(folder, **changes)
    crown(setting)
    datasets = setting.store.data_dir / "datasets"
    datasets.mkdir()
    (datasets / "own.toml").write_text(DATASET)
    return setting


def dataset_of(folder: Path, **changes: Any) -> Dataset:
    return labelled_by_line(folder / "own.log", **changes)


def lines(num_lines: int, *, seed: int = 1, is_labelled: bool = False) -> list[str]:
    """Lines like those that the champion was trained on."""
    dice = random.Random(seed)
    label = "- " if is_labelled else ""
    return [f"{label}{EPOCH + n} {dice.choice(TEXTS)}\n" for n in range(num_lines)]


def row_key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a verdict must be whenever and in whatever portions its log was read."""
    return (
        *(row[name] for name in ("window_id", "first_line", "last_line", "num_lines", "verdict")),
        round(row["probability"], 4),
    )
