"""The champion: which model of a data set judges new logs.

`models/<data set>/champion.json` holds what was decided about every candidate, oldest first; the
champion is the last one that was promoted. The file is replaced whole by one rename, so that a
promotion, and the windows that count as considered by it, come true in the same instant: a reader
sees the old champion or the new one. Writers keep each other out by a lock.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from loguru import logger
from pydantic import Field

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError
from logllm_core.store.disk import lock, replace_file, writable
from logllm_core.store.intact_files import is_whole, require_intact
from logllm_core.store.sealed_json import read_record, seal
from logllm_core.store.store import FINGERPRINT_LENGTH, Artifact, Store
from logllm_core.training.recipes import Recipe

CHAMPION = "champion.json"
Fingerprint = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{FINGERPRINT_LENGTH}}}$")]


class Decision(Settings):
    """One model that was promoted, or turned down."""

    run: Fingerprint  # of the report: runs/<data set>/<run>
    trained: Fingerprint  # of its last stage: models/<data set>/<trained>
    stages: tuple[Fingerprint, ...]  # all that were trained for it, first to last
    previous: Fingerprint | None  # the model that its first stage went on from
    messages: Fingerprint  # both: what it was trained on
    windows: Fingerprint
    recipe: Recipe
    backbones: str  # as --backbones takes them
    decided: str  # ISO 8601, UTC
    is_promoted: bool
    reason: str  # a sentence


Champion = Decision  # the last one that was promoted


class Decisions(Settings):
    """What `champion.json` holds."""

    decisions: tuple[Decision, ...] = ()  # oldest first

    @property
    def champion(self) -> Champion | None:
        return next((made for made in reversed(self.decisions) if made.is_promoted), None)

    @property
    def lineage(self) -> list[Decision]:
        """The champion and the models that it goes back to, by whose adapters each began."""
        by_model = {made.trained: made for made in self.decisions}
        lineage = [self.champion] if self.champion else []
        while lineage and (earlier := by_model.get(lineage[-1].previous or "")):
            if earlier in lineage:
                break
            lineage.append(earlier)
        return lineage

    @property
    def considered(self) -> set[str]:
        """The windows that candidates were trained on."""
        return {made.windows for made in self.decisions}


def champion_path(store: Store, dataset: str) -> Path:
    """The file that names the champion; it has another modification time after a decision."""
    return store.data_dir / "models" / dataset / CHAMPION


def read_decisions(store: Store, dataset: str) -> Decisions:
    """All that was decided about a data set's models; nothing where there was no model yet.

    Raises:
        LogLLMError: the file is damaged, or of another version.
    """
    path = champion_path(store, dataset)
    advice = "Remove it, then name a champion: logllm models promote RUN; logllm runs lists them."
    try:
        values = read_record(path, advice=advice)
    except FileNotFoundError:
        return Decisions()
    return Decisions.parse(values, origin=str(path))


def find_champion(store: Store, dataset: str) -> Champion | None:
    """The champion of a data set; None where no model was trained yet."""
    return read_decisions(store, dataset).champion


def current_champion(store: Store, dataset: str) -> Champion:
    """The champion of a data set.

    Raises:
        LogLLMError: there is none.
    """
    champion = find_champion(store, dataset)
    if champion is None:
        raise LogLLMError(
            f"{dataset} has no champion in {store.data_dir}. Train a model first: logllm train "
            f"{dataset}"
        )
    return champion


def current_model(store: Store, dataset: str) -> Artifact:
    """The champion's trained weights. Raises as `current_champion` and `model_of`."""
    return model_of(store, dataset, current_champion(store, dataset))


def model_of(store: Store, dataset: str, decision: Decision) -> Artifact:
    """The trained weights that a decision was about.

    Raises:
        LogLLMError: they are gone or damaged.
    """
    model = store.named("models", dataset, decision.trained)
    if not is_whole(model.path):
        raise LogLLMError(
            f"The model {decision.trained} of run {decision.run} ({dataset}) is gone from "
            f"{store.data_dir}, or damaged. Promote another run (logllm models {dataset} lists "
            f"them), or train it again: logllm train {dataset}, with the same options."
        )
    require_intact(model.path)
    return model


def promote(store: Store, run: Artifact, *, reason: str) -> Champion:
    """Make a run's model the champion, whatever it is worth.

    Raises:
        LogLLMError: the run's model is gone.
    """
    return decide(store, run, is_promoted=True, reason=reason)


def promote_first(store: Store, run: Artifact) -> Champion:
    """Make a run's model the champion where there is none yet; returns the champion.

    One that learned too little is better than none; the decision's reason says so.
    """
    with deciding(store, run.dataset):
        decisions = read_decisions(store, run.dataset)
        if decisions.champion:
            return decisions.champion
        shortfall = _read_report(run)["learned"]["shortfall"]
        reason = (
            f"It is the first model of this data set{', but ' + shortfall if shortfall else ''}."
        )
        made = _decision(store, run, reason=reason, is_promoted=True)
        _write(store, run.dataset, decisions, made)
    tell = logger.warning if shortfall else logger.info
    tell("{}: run {} is the champion. {}", run.dataset, run.fingerprint, reason)
    return made


def decide(
    store: Store, run: Artifact, *, is_promoted: bool, reason: str, over: Champion | None = None
) -> Decision:
    """Promote a run's model, or turn it down; either way its windows are considered now.

    Args:
        over: the champion that it was measured against; None where it was not measured.

    Raises:
        LogLLMError: the run's model is gone, or there is another champion than `over` by now.
    """
    with deciding(store, run.dataset):
        made = _decision(store, run, reason=reason, is_promoted=is_promoted)
        decisions = read_decisions(store, run.dataset)
        if over and decisions.champion != over:
            raise LogLLMError(
                f"The champion of {run.dataset} has changed while a candidate was measured against "
                f"run {over.run}. Nothing was decided; retrain again."
            )
        _write(store, run.dataset, decisions, made)
    outcome = "is the champion now" if is_promoted else "is turned down"
    logger.info("{}: run {} {}. {}", run.dataset, run.fingerprint, outcome, reason)
    return made


@contextmanager
def retraining(store: Store, dataset: str) -> Iterator[None]:
    """One retraining of a data set at a time; another one waits, and finds its work done."""
    with ExitStack() as stack:
        path = champion_path(store, dataset).with_name(".candidate.lock")
        with writable(path.parent):
            stack.enter_context(lock(path))
        yield


@contextmanager
def deciding(store: Store, dataset: str) -> Iterator[None]:
    """The decisions, kept from other writers."""
    folder = champion_path(store, dataset).parent
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder / ".champion.lock"):
            yield


def _decision(store: Store, run: Artifact, *, reason: str, is_promoted: bool) -> Decision:
    """What is to be remembered of a run."""
    manifest = run.manifest
    stages = [stage["artifact"] for stage in _read_report(run)["stages"]]
    first = store.named("models", run.dataset, stages[0])
    started = first.manifest["inputs"] if is_whole(first.path) else {}
    values = {
        "run": run.fingerprint,
        "trained": stages[-1],
        "stages": stages,
        "previous": started.get("previous"),
        "messages": manifest["inputs"]["messages"],
        "windows": manifest["inputs"]["windows"],
        "recipe": manifest["config"]["recipe"],
        "backbones": manifest["config"]["backbones"],
        "decided": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_promoted": is_promoted,
        "reason": reason,
    }
    made = Decision.parse(values, origin=f"The run {run.path}")
    model_of(store, run.dataset, made)
    return made


def _read_report(run: Artifact) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    return content


def _write(store: Store, dataset: str, decisions: Decisions, made: Decision) -> None:
    after = Decisions(decisions=(*decisions.decisions, made))
    replace_file(champion_path(store, dataset), seal(after.model_dump(mode="json")))
