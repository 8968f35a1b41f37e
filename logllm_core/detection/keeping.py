"""What a data folder keeps of models that were decided about, and of what they were made from.

A log that is trained on every night would fill the disk: with models, and with the windows,
predictions and vectors of each night. Reports and decisions stay.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from loguru import logger

from logllm_core.detection.champion import Decision, deciding, model_named, read_decisions
from logllm_core.detection.newer import remember
from logllm_core.store import Artifact, Kind, Store

REMOVED = ".removed"  # ends the name of a folder that is on its way out


def keep_last(store: Store, dataset: str, num_models: int) -> list[str]:
    """Remove the models of older decisions; models that no decision was about stay.

    Kept are the last `num_models` that were promoted, for a rollback, and as many of those that
    were turned down; the champion is always among the first. With a model goes what was made for it
    alone: its messages, windows, vectors and predictions. Of the windows that a champion was
    trained on, what tells them from new ones is kept. Reports stay.

    Returns:
        the fingerprints of the stages that were removed.
    """
    assert num_models > 0
    removed = []
    with deciding(store, dataset):
        _remove_leftovers(store, dataset)
        decisions = read_decisions(store, dataset).decisions
        kept = _stages_of_last(decisions, num_models)
        for stage in dict.fromkeys(stage for made in decisions for stage in made.stages):
            path = model_named(store, dataset, stage).path
            if stage not in kept and path.is_dir():
                _remove(path)
                removed.append(stage)
        num_others = 0
        for artifact in _made_for_what_is_gone(store, dataset, decisions):
            _remove(artifact.path)
            num_others += 1
    if removed or num_others:
        logger.info(
            "{}: removed {} stages of older models, and {} artifacts that were made for them",
            *(dataset, len(removed), num_others),
        )
    return removed


def _stages_of_last(decisions: tuple[Decision, ...], num_models: int) -> set[str]:
    """The stages of the last models of either outcome; a model that was ever promoted is that."""
    promoted = {made.trained for made in decisions if made.is_promoted}
    newest = dict.fromkeys(made.trained for made in reversed(decisions))
    kept = {
        model
        for outcome in (True, False)
        for model in [one for one in newest if (one in promoted) is outcome][:num_models]
    }
    return {stage for made in decisions if made.trained in kept for stage in made.stages}


def _made_for_what_is_gone(
    store: Store, dataset: str, decisions: tuple[Decision, ...]
) -> Iterator[Artifact]:
    """Messages and windows of models that are gone, and what was made from them."""
    models = store.all("models", dataset)
    gone = [m for m in decisions if not model_named(store, dataset, m.trained).path.is_dir()]
    windows = store.all("windows", dataset)
    used = {model.manifest["inputs"].get("windows") for model in models}
    used |= {made.windows for made in decisions if made not in gone}
    used |= {newest.fingerprint for newest in windows[:1]}  # the views show it
    old_windows = {made.windows for made in gone} - used
    champions = {made.windows for made in decisions if made.is_promoted}
    for artifact in windows:
        if artifact.fingerprint in old_windows:
            if artifact.fingerprint in champions:  # later models may go back to that one
                remember(artifact)
            yield artifact
    # Of those windows that are left: the others are removed by now.
    used = {left.manifest["inputs"]["messages"] for left in store.all("windows", dataset)}
    used |= {made.messages for made in decisions if made not in gone}
    old_messages = {made.messages for made in gone} - used
    yield from (m for m in store.all("messages", dataset) if m.fingerprint in old_messages)
    stages = {stage for made in gone for stage in made.stages}
    old_inputs = {
        "messages": old_messages,
        "windows": old_windows,
        "trained": stages - {model.fingerprint for model in models},
    }
    kinds: tuple[Kind, ...] = ("vectors", "predictions")
    for artifact in (found for kind in kinds for found in store.all(kind, dataset)):
        inputs = artifact.manifest["inputs"]
        if any(inputs.get(name) in old for name, old in old_inputs.items()):
            yield artifact


def _remove(folder: Path) -> None:
    """Renamed first: half of an artifact must not pass for one."""
    aside = folder.with_name(f".{folder.name}{REMOVED}")
    folder.rename(aside)
    shutil.rmtree(aside)


def _remove_leftovers(store: Store, dataset: str) -> None:
    for kind in get_args(Kind):
        for leftover in (store.data_dir / kind / dataset).glob(f".*{REMOVED}"):
            shutil.rmtree(leftover)
