"""What a data folder keeps of models that were decided about, and of what they were made from.

A log that is trained on every night would fill the disk: with models, and with the windows,
predictions and vectors of each night. Reports and decisions stay.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import get_args

from loguru import logger

from logllm_core.daily.champion.decisions import Decision, deciding, read_decisions
from logllm_core.daily.champion.fair_windows import note_known
from logllm_core.store.disk import set_aside
from logllm_core.store.store import Artifact, Kind, Store

REMOVED = "removed"  # why a folder that is on its way out was set aside


def keep_last(store: Store, dataset: str, num_models: int) -> list[str]:
    """Remove the models of older decisions; models that no decision was about stay.

    Kept are the last `num_models` that were promoted, for a rollback, and as many of those that
    were turned down; the champion is always among the first. With a model goes what was made for it
    alone: its parts, messages, windows, vectors and predictions. Of the windows that a champion was
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
            path = store.named("models", dataset, stage).path
            if stage not in kept and path.is_dir():
                _remove(path)
                removed.append(stage)
        left_over = _made_for_what_is_gone(store, dataset, decisions)
        champions = {made.windows for made in decisions if made.is_promoted}
        for artifact in left_over:
            if artifact.fingerprint in champions:  # to which later models may go back
                note_known(artifact)
            _remove(artifact.path)
    if removed or left_over:
        logger.info(
            "{}: removed {} stages of older models, and {} artifacts that were made for them",
            *(dataset, len(removed), len(left_over)),
        )
    return removed


def _stages_of_last(decisions: tuple[Decision, ...], num_models: int) -> set[str]:
    """The stages of the last models of either outcome; a model that was ever promoted is that."""
    promoted = {made.trained for made in decisions if made.is_promoted}
    newest = dict.fromkeys(made.trained for made in reversed(decisions))
    kept = {
        model
        for outcome in (True, False)
        for model in [model for model in newest if (model in promoted) is outcome][:num_models]
    }
    return {stage for made in decisions if made.trained in kept for stage in made.stages}


def _made_for_what_is_gone(
    store: Store, dataset: str, decisions: tuple[Decision, ...]
) -> list[Artifact]:
    """Parts, messages and windows of models that are gone, and what was made from them."""
    models = {model.fingerprint: model for model in store.all("models", dataset)}
    gone = [made for made in decisions if made.trained not in models]
    kept = [made for made in decisions if made.trained in models]
    windows, messages = store.all("windows", dataset), store.all("messages", dataset)
    users = [*models.values(), *store.all("detectors", dataset)]
    used = {user.manifest["inputs"].get("windows") for user in users}
    used |= {made.windows for made in kept}
    used |= {newest.fingerprint for newest in windows[:1]}  # the views show it
    old_windows = {made.windows for made in gone} - used
    used = {w.manifest["inputs"]["messages"] for w in windows if w.fingerprint not in old_windows}
    used |= {made.messages for made in kept}
    old_messages = {made.messages for made in gone} - used
    old = {
        "trained": {stage for made in gone for stage in made.stages} - models.keys(),
        "windows": old_windows,
        "messages": old_messages,
    }
    return [
        *(left for left in windows if left.fingerprint in old_windows),
        *(left for left in messages if left.fingerprint in old_messages),
        *_parts_alone_of(store, dataset, messages, old_messages),
        *(left for left in store.all("vectors", dataset) if _is_of(left, old)),
        *(left for left in store.all("predictions", dataset) if _is_of(left, old)),
    ]


def _is_of(artifact: Artifact, old: Mapping[str, Set[str]]) -> bool:
    inputs = artifact.manifest["inputs"]
    return any(inputs.get(name) in fingerprints for name, fingerprints in old.items())


def _parts_alone_of(
    store: Store, dataset: str, messages: Sequence[Artifact], old: Set[str]
) -> Iterator[Artifact]:
    """The parts that no other messages were put together from than these."""
    files: dict[bool, set[tuple[str, str | None]]] = {True: set(), False: set()}
    for log in messages:
        # Checksum and member of each raw file.
        files[log.fingerprint in old].update(map(tuple, log.manifest["config"]["files"]))
    for part in store.all("parts", dataset):
        file = part.manifest["config"]["file"]
        if (file["checksum"], file["member"]) in files[True] - files[False]:
            yield part


def _remove(folder: Path) -> None:
    """Set aside first: half of an artifact must not pass for one."""
    shutil.rmtree(set_aside(folder, REMOVED))


def _remove_leftovers(store: Store, dataset: str) -> None:
    for kind in get_args(Kind):
        for leftover in (store.data_dir / kind / dataset).glob(f".*.{REMOVED}*"):
            shutil.rmtree(leftover)
