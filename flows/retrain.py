"""The flow `retrain-logllm`: a model that keeps up with its log."""

from dataclasses import dataclass, replace
from typing import cast

from loguru import logger
from prefect import flow
from prefect.states import Completed

from flows.flow_pipeline import pipeline_of
from flows.run_log import log_to_prefect
from flows.settings import RetrainSettings
from logllm_core.daily.champion.decisions import (
    Decision,
    current_model,
    decide,
    find_champion,
    read_decisions,
    retraining,
)
from logllm_core.daily.champion.drift import drift_of
from logllm_core.daily.champion.removed_models import keep_last
from logllm_core.daily.champion.scored_windows import newest_windows
from logllm_core.errors import LogLLMError
from logllm_core.evaluation.champion_contest import hold_contest
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.pipeline import Basis, Pipeline, Trained
from logllm_core.store.store import Artifact
from logllm_core.training.sampling import check_labelled
from logllm_core.training.trained_model import pooling_of
from tasks import shown_in_prefect, step_tasks

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

    lineage: list[Decision]  # the champion and the models that it goes back to
    champion_model: Artifact
    basis: Basis  # the candidate's
    pipeline: Pipeline
    settings: RetrainSettings

    @property
    def champion(self) -> Decision:
        return self.lineage[0]


@flow(name="retrain-logllm", flow_run_name="retrain-{dataset}")
def retrain_logllm(dataset: str, settings: RetrainSettings = DEFAULTS) -> Retrained:
    """Train a candidate on what is new, and promote it unless it is worse than the champion.

    Without a champion, or without anything new, nothing is done. Cut off at any point, the same
    call goes on from there.
    """
    log_to_prefect()
    described = settings.find_dataset(dataset)
    name = described.name
    if find_champion(settings.store, name) is None:
        reason = f"{name} has no champion, so nothing was done. Train one: logllm train {name}"
        return _ended(Retrained(dataset=name, run=None, is_promoted=False, reason=reason))
    with retraining(settings.store, name):
        return _ended(_retrain(described, settings))


def _ended(retrained: Retrained) -> Retrained:
    """Its outcome as the run's last state, which says it in Prefect; callers get the outcome."""
    logger.info("{}", retrained.reason)
    return cast(Retrained, Completed(message=retrained.reason, data=retrained))


def _retrain(dataset: Dataset, settings: RetrainSettings) -> Retrained:
    store, name = settings.store, dataset.name
    decisions, model = read_decisions(store, name), current_model(store, name)
    champion, pipeline = decisions.lineage[0], pipeline_of(settings)
    recipe = champion.recipe.overridden(settings.overrides)
    prepared = pipeline.prepare(dataset, recipe)
    if prepared.windows.fingerprint in decisions.considered:
        step_tasks.run(keep_last, store, name, settings.keep_models)
        reason = f"There is nothing new in {name} since the last decision."
        return Retrained(dataset=name, run=None, is_promoted=False, reason=reason)
    check_labelled(name, is_labelled=dataset.labels is not None)
    attempt = Attempt(
        lineage=decisions.lineage,
        champion_model=model,
        basis=pipeline.basis(
            dataset, recipe, champion.backbones, prepared, pooling=pooling_of(model)
        ),
        pipeline=pipeline,
        settings=settings,
    )
    made = _decide(attempt, _train(attempt))
    step_tasks.run(keep_last, store, name, settings.keep_models)
    return Retrained(dataset=name, run=made.run, is_promoted=made.is_promoted, reason=made.reason)


def _train(attempt: Attempt) -> Trained:
    """The candidate's stages: all of the recipe, or its last one from the champion's adapters."""
    start: Artifact | None = attempt.champion_model
    if attempt.settings.start == "scratch":
        start = None
    if attempt.basis.recipe.embedder == "message-id":
        _check_same_numbers(attempt)
        name = attempt.basis.dataset.name
        logger.info("{}: vectors of message ids are learned from scratch", name)
        start = None
    return attempt.pipeline.train(attempt.basis, attempt.settings.execution, start=start)


def _check_same_numbers(attempt: Attempt) -> None:
    """A champion that knows messages by their numbers can judge no others."""
    name, messages = attempt.basis.dataset.name, attempt.basis.prepared.messages
    known = attempt.settings.store.newest("messages", name, attempt.champion.messages)
    texts = read_vocabulary(known) if known else []
    if not texts or read_vocabulary(messages)[: len(texts)] != texts:
        raise LogLLMError(
            f"The messages of {name} are numbered otherwise than when its champion was trained, "
            "which knows them by their numbers (embedder message-id) and cannot judge them. Train "
            f"a model that reads text, and promote it: logllm train {name}"
        )


def _decide(attempt: Attempt, candidate: Trained) -> Decision:
    """Report on the candidate, measure it against the champion, and decide."""
    store, pipeline = attempt.settings.store, attempt.pipeline
    champions_basis = replace(attempt.basis, recipe=attempt.champion.recipe)
    before = pipeline.predict(champions_basis, attempt.champion_model)
    _tell_drift(attempt, before)
    after = pipeline.predict(candidate.basis, candidate.stages[-1])
    run = pipeline.evaluate([candidate])
    shown_in_prefect.publish_report(run)
    pipeline.refresh_views()
    contest = step_tasks.run(
        hold_contest,
        store,
        candidate.basis.prepared.windows,
        after,
        before,
        attempt.lineage,
        report=run,
    )
    made = step_tasks.run(
        decide,
        store,
        run,
        over=attempt.champion,
        is_promoted=contest.is_promoted,
        reason=contest.reason,
    )
    shown_in_prefect.publish_decision(attempt.basis.dataset.name, contest, made)
    if not made.is_promoted:  # the views show what was asked for last: the champion's verdicts
        pipeline.predict(champions_basis, attempt.champion_model)
        pipeline.refresh_views()
    return made


def _tell_drift(attempt: Attempt, predictions: Artifact) -> None:
    """Of the newest windows of the data set itself, as the champion judged them."""
    settings, prepared = attempt.settings, attempt.basis.prepared
    newest = newest_windows(
        settings.store,
        attempt.champion,
        messages=prepared.messages,
        windows=prepared.windows,
        predictions=predictions,
    )
    name = attempt.basis.dataset.name
    drift = step_tasks.run(drift_of, settings.store, name, attempt.champion, newest, settings.drift)
    if drift:
        # No event: the retraining that it would ask for is this one.
        shown_in_prefect.publish_drift(drift, is_told=False)
