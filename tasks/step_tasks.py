"""Calls of the core as tasks: a row a step, under the name that its runs have in Prefect."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

P = ParamSpec("P")
T = TypeVar("T")

# By name, so that a flow imports what it runs and no more. In braces stand the step's parameters.
RUN_NAMES: Mapping[str, str] = {
    "logs.sources.raw_log.obtain_log": "obtain-log-{dataset.name}",
    "logs.messages.log_messages.find_messages": "find-messages-{dataset.name}",
    "logs.messages.log_messages.build_messages": "build-messages-{dataset.name}",
    "logs.windows.window_artifact.build_windows": "build-windows-{dataset.name}",
    "logs.messages.file_messages.build_parts": "build-parts-{dataset.name}",
    "query.views.refresh_views": "refresh-views",
    "model.backbones.find_backbones": "find-backbones-{name}",
    "training.stage.train_stage": "train-stage-{plan.stage.name}",
    "training.stage.find_stage": "find-stage-{plan.stage.name}",
    "scoring.predictions.predict": "predict-{dataset}",
    "scoring.encoder_vectors.encode_vocabulary": "encode-{dataset}",
    "evaluation.seed_choice.choose_seed": "choose-seed",
    "evaluation.report.build_report": "build-report-{dataset.name}",
    "evaluation.champion_contest.hold_contest": "hold-contest-{windows.dataset}",
    "daily.champion.decisions.promote_first": "promote-first-{run.dataset}",
    "daily.champion.decisions.decide": "decide-{run.dataset}",
    "daily.champion.drift.drift_of": "measure-drift-{dataset}",
    "daily.champion.removed_models.keep_last": "keep-last-{dataset}",
    "daily.detect.detect.detect": "detect-{dataset.name}",
    "paper.detectors.detector_scores.run_method": "run-{assignment.method.name}",
    "paper.experiments.compare_methods.build_comparison": "build-comparison-{dataset.name}",
    "paper.experiments.ablation_processes.run_all": "run-variants",
    "paper.experiments.ablation_page.build_ablation": "build-ablation",
}


@cache
def as_task(step: Callable[P, T]) -> Task[P, T]:
    """The step as Prefect's; our store decides about reuse, as Prefect does not see what it does.

    Raises:
        KeyError: it has no row in the table.
    """
    name = f"{step.__module__}.{step.__qualname__}".removeprefix("logllm_core.")
    return task(task_run_name=RUN_NAMES[name], cache_policy=NO_CACHE)(step)


def run(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A pipeline's `run`, for flows."""
    call: Any = as_task(step)  # Prefect's overloads tell coroutines apart, and know no ParamSpec
    outcome: T = call(*args, **kwargs)
    return outcome
