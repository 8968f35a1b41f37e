"""The flow `compare-detectors`: LogLLM and the paper's other methods on the same windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from loguru import logger
from prefect import flow

from flows.flow_pipeline import pipeline_of
from flows.run_log import log_to_prefect
from flows.settings import CompareSettings
from logllm_core.errors import LogLLMError
from logllm_core.model.sources.named_backbones import backbones_named
from logllm_core.paper.detectors.detector_scores import Assignment, run_method
from logllm_core.paper.experiments.compare_methods import build_comparison
from logllm_core.paper.experiments.contenders import (
    NOT_ASKED,
    Contender,
    Entry,
    choose,
    wants_logllm,
)
from logllm_core.pipeline import Basis, Pipeline
from logllm_core.signals import StoppedError
from logllm_core.store.store import Artifact
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import check_labelled
from logllm_core.training.stage_plan import check_shares
from tasks import shown_in_prefect, step_tasks

DEFAULTS = CompareSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arena:
    """What all that take part have in common."""

    bases: Sequence[Basis]  # LogLLM's, one a seed
    vectors: Artifact | None  # the frozen encoder's, of all messages
    pipeline: Pipeline
    settings: CompareSettings

    @property
    def basis(self) -> Basis:
        return self.bases[0]


@flow(name="compare-detectors", flow_run_name="compare-{dataset}")
def compare_detectors(dataset: str, settings: CompareSettings = DEFAULTS) -> Artifact:
    """Fit each method on the training split, score the test split, and stand all side by side.

    What exists is reused, so the same call again goes on where the last one stopped. A method that
    cannot be run here is a row that says why.
    """
    log_to_prefect()
    described = settings.find_dataset(dataset)
    recipes = settings.find_recipes()
    # What is wrong with the settings is told before any work.
    entries = choose(settings.only, settings.method_changes)
    backbones_named(settings.backbones)
    check_labelled(described.name, is_labelled=described.labels is not None)
    check_shares(recipes[0], settings.num_processes)
    _check_templates(recipes[0])
    pipeline = pipeline_of(settings)
    prepared = pipeline.prepare(described, recipes[0])
    basis = pipeline.basis(described, recipes[0], settings.backbones, prepared)
    arena = Arena(
        bases=[replace(basis, recipe=recipe) for recipe in recipes],
        # At once, though the page alone needs them: an encoder that cannot be had is told early.
        vectors=pipeline.encode(basis),
        pipeline=pipeline,
        settings=settings,
    )
    contenders = [_run_method(arena, entry) for entry in entries]
    contenders.append(_run_logllm(arena))
    return _report(arena, contenders)


def _check_templates(recipe: Recipe) -> None:
    """No method may read what the test split taught a parser."""
    if recipe.masking.startswith("drain"):
        raise LogLLMError(
            f"The masking {recipe.masking} fits its templates on the whole log, test lines too. "
            "Compare methods with --masking regex or none: those that read templates have their "
            "own, of the training split alone."
        )


def _run_method(arena: Arena, entry: Entry) -> Contender:
    """A method with each seed."""
    if not entry.is_wanted:
        return Contender.of_method(entry, {}, NOT_ASKED)
    scores: dict[int, Artifact] = {}
    try:
        for seed in _seeds(arena):
            scores[seed] = step_tasks.run(
                run_method,
                arena.settings.store,
                Assignment(
                    dataset=arena.basis.dataset.name,
                    method=entry.method,
                    settings=entry.settings,
                    seed=seed,
                    folders=arena.basis.folders,
                    messages=arena.basis.prepared.messages,
                    windows=arena.basis.prepared.windows,
                ),
                checkpoint_minutes=arena.settings.checkpoint_minutes,
            )
    except StoppedError:
        raise
    except LogLLMError as fault:
        return Contender.of_method(entry, {}, _told(arena, entry.method.title, fault))
    return Contender.of_method(entry, _first_first(scores), None)


def _run_logllm(arena: Arena) -> Contender:
    """LogLLM with each seed, as `train-logllm` trains it."""
    first = arena.basis.recipe
    if not wants_logllm(arena.settings.only):
        return Contender.of_logllm(first, {}, (), NOT_ASKED)
    scores: dict[int, Artifact] = {}
    stages: Sequence[Artifact] = []
    try:
        for basis in reversed(arena.bases):
            stages = arena.pipeline.train(basis, arena.settings.execution).stages
            scores[basis.recipe.seed] = arena.pipeline.predict(basis, stages[-1])
    except StoppedError:
        raise
    except LogLLMError as fault:
        return Contender.of_logllm(first, {}, (), _told(arena, "LogLLM", fault))
    return Contender.of_logllm(first, _first_first(scores), stages, None)


def _seeds(arena: Arena) -> list[int]:
    """The first seed comes last: the views show the scores that were asked for last."""
    return [basis.recipe.seed for basis in reversed(arena.bases)]


def _first_first(scores: dict[int, Artifact]) -> dict[int, Artifact]:
    return dict(reversed(scores.items()))


def _told(arena: Arena, title: str, fault: LogLLMError) -> str:
    logger.warning("{}: {} is left out: {}", arena.basis.dataset.name, title, fault)
    return str(fault)


def _report(arena: Arena, contenders: Sequence[Contender]) -> Artifact:
    """The page, its Prefect artifact and the views."""
    basis = arena.basis
    built = step_tasks.run(
        build_comparison,
        arena.settings.store,
        basis.dataset,
        backbones=basis.backbones,
        contenders=contenders,
        prepared=basis.prepared,
        vectors=arena.vectors,
    )
    shown_in_prefect.publish_comparison(built)
    arena.pipeline.refresh_views()
    return built
