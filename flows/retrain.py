"""The flow `retrain-logllm`: a model that keeps up with its log."""

from dataclasses import dataclass
from typing import cast

from loguru import logger
from prefect import flow
from prefect.states import Completed

from flows.prepare import Prepared, prepare
from flows.run_log import log_to_prefect
from flows.settings import RetrainSettings
from flows.steps import evaluate, run_stages
from logllm_core.daily.champion.decisions import (
    Decision,
    current_model,
    find_champion,
    read_decisions,
    retraining,
)
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.model.sources.named_backbones import Places
from logllm_core.store.store import Artifact
from logllm_core.training.plan import StagePlan
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import check_labelled
from logllm_core.training.trained_model import pooling_of
from tasks import detection, evaluation, logs, models, training

DEFAULTS = RetrainSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrained:
    """What a retraining came to."""

    dataset: str
    run: str | None  # of the candidate; None where there was nothing to do
    is_promoted: bool
    reason: str  # a sentence


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What a candidate is made from, and whom it is measured against."""

    dataset: Dataset
    line: list[Decision]  # the champion and the models that it goes back to
    champion_model: Artifact
    recipe: Recipe  # the candidate's
    places: Places
    prepared: Prepared
    settings: RetrainSettings


@flow(name="retrain-logllm", flow_run_name="retrain-{dataset}")
def retrain_logllm(dataset: str, settings: RetrainSettings = DEFAULTS) -> Retrained:
    """Train a candidate on what is new, and promote it unless it is worse than the champion.

    Without a champion, or without anything new, nothing is done. Cut off at any point, the same
    call goes on from there.
    """
    log_to_prefect()
    found = settings.find_dataset(dataset)
    name = found.name
    if find_champion(settings.store, name) is None:
        reason = f"{name} has no champion, so nothing was done. Train one: logllm train {name}"
        return _ended(Retrained(dataset=name, run=None, is_promoted=False, reason=reason))
    with retraining(settings.store, name):
        return _ended(_retrain(found, settings))


def _ended(retrained: Retrained) -> Retrained:
    """Its outcome as the run's last state, which says it in Prefect; callers get the outcome."""
    logger.info("{}", retrained.reason)
    return cast(Retrained, Completed(message=retrained.reason, data=retrained))


def _retrain(dataset: Dataset, settings: RetrainSettings) -> Retrained:
    store, name = settings.store, dataset.name
    decisions, model = read_decisions(store, name), current_model(store, name)
    champion = decisions.line[0]
    recipe = champion.recipe.overridden(settings.overrides)
    prepared = prepare(dataset, recipe, settings)
    if prepared.windows.fingerprint in decisions.considered:
        models.keep_last(store, name, settings.keep_models)
        reason = f"There is nothing new in {name} since the last decision."
        return Retrained(dataset=name, run=None, is_promoted=False, reason=reason)
    check_labelled(name, is_labelled=dataset.labels is not None)
    attempt = Attempt(
        dataset=dataset,
        line=decisions.line,
        champion_model=model,
        recipe=recipe,
        places=models.find_backbones(store, champion.backbones, pooling_of(model)),
        prepared=prepared,
        settings=settings,
    )
    made = _decide(attempt, _train(attempt))
    models.keep_last(store, name, settings.keep_models)
    return Retrained(dataset=name, run=made.run, is_promoted=made.is_promoted, reason=made.reason)


def _train(attempt: Attempt) -> list[Artifact]:
    """The candidate's stages: all of the recipe, or its last one from the champion's adapters."""
    dataset, recipe, settings = attempt.dataset, attempt.recipe, attempt.settings
    is_from_scratch = settings.start == "scratch"
    if recipe.embedder == "message-id":
        _check_same_numbers(attempt)
        logger.info("{}: vectors of message ids are learned from scratch", dataset.name)
        is_from_scratch = True
    if is_from_scratch:
        places, prepared = attempt.places, attempt.prepared
        return run_stages(dataset, recipe, places, prepared, settings, may_train=True)
    plan = StagePlan(
        dataset=dataset.name,
        stage=recipe.trained_stages[-1],
        recipe=recipe,
        places=attempt.places,
        messages=attempt.prepared.messages,
        windows=attempt.prepared.windows,
        previous=attempt.champion_model,
    )
    return [training.train_stage(settings.store, plan, settings.execution)]


def _check_same_numbers(attempt: Attempt) -> None:
    """A champion that knows messages by their numbers can judge no others."""
    name, messages = attempt.dataset.name, attempt.prepared.messages
    known = attempt.settings.store.newest("messages", name, attempt.line[0].messages)
    texts = read_vocabulary(known) if known else []
    if not texts or read_vocabulary(messages)[: len(texts)] != texts:
        raise LogLLMError(
            f"The messages of {name} are numbered otherwise than when its champion was trained, "
            "which knows them by their numbers (embedder message-id) and cannot judge them. Train "
            f"a model that reads text, and promote it: logllm train {name}"
        )


def _decide(attempt: Attempt, stages: list[Artifact]) -> Decision:
    """Report on the candidate, measure it against the champion, and decide."""
    store, champion, prepared = attempt.settings.store, attempt.line[0], attempt.prepared
    before = _predict(attempt, champion.recipe, attempt.champion_model)
    _tell_drift(attempt, before)
    after = _predict(attempt, attempt.recipe, stages[-1])
    run = evaluate(
        store,
        attempt.dataset,
        [attempt.recipe],
        champion.backbones,
        attempt.places,
        prepared,
        [stages],
    )
    contest = evaluation.hold_contest(store, prepared.windows, after, before, attempt.line, run)
    made = models.decide(
        store, run, champion, is_promoted=contest.is_promoted, reason=contest.reason
    )
    evaluation.publish_decision(attempt.dataset.name, contest, made)
    if not made.is_promoted:  # the views show what was asked for last: the champion's verdicts
        _predict(attempt, champion.recipe, attempt.champion_model)
        logs.refresh_views(store)
    return made


def _predict(attempt: Attempt, recipe: Recipe, trained: Artifact) -> Artifact:
    """What one of both says of the newest windows."""
    return detection.predict(
        attempt.settings.store,
        attempt.dataset.name,
        recipe,
        attempt.places,
        attempt.prepared.messages,
        attempt.prepared.windows,
        trained,
    )


def _tell_drift(attempt: Attempt, predictions: Artifact) -> None:
    drift = evaluation.measure_drift_of_newest(
        attempt.settings.store,
        attempt.line[0],
        attempt.prepared.messages,
        attempt.prepared.windows,
        predictions,
        attempt.settings.drift,
    )
    if drift:
        # No event: the retraining that it would ask for is this one.
        evaluation.publish_drift(drift, is_told=False)
