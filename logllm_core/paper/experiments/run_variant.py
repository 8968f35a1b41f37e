"""One variant from prepared windows to a run: stages, predictions, report.

The run is an ordinary one, which `logllm runs` lists. All that variants have in common is found in
the store: without stage 3, say, is the recipe itself up to stage 2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from logllm_core.evaluation.report import Run, build_report
from logllm_core.model.backbones import find_backbones
from logllm_core.paper.experiments.ablation_table import Setup
from logllm_core.scoring.encoder_vectors import encode_vocabulary
from logllm_core.scoring.predictions import predict
from logllm_core.store.store import Artifact, Json, Kind, Store
from logllm_core.training.plan import Execution, StagePlan
from logllm_core.training.stage import train_stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A variant to be run: its setup, and the windows prepared for it."""

    name: str  # for log lines
    setup: Setup
    raw: Artifact
    messages: Artifact
    windows: Artifact
    execution: Execution


def run_variant(store: Store, job: Job) -> Artifact:
    """Train and score what is not there yet, and report; returns the run.

    Raises:
        LogLLMError: backbones that are not there, too little memory, text that does not fit, a
            training that was asked to stop, or whatever else a training may say.
    """
    recipe, dataset = job.setup.recipe, job.setup.dataset
    places = find_backbones(store, job.setup.backbones, job.setup.recipe.pooling)
    stages: list[Artifact] = []
    for stage in recipe.trained_stages:
        plan = StagePlan(
            dataset=dataset.name,
            stage=stage,
            recipe=recipe,
            places=places,
            messages=job.messages,
            windows=job.windows,
            previous=stages[-1] if stages else None,
        )
        stages.append(train_stage(store, plan, job.execution))
    predictions = predict(
        store,
        dataset.name,
        recipe=recipe,
        places=places,
        messages=job.messages,
        windows=job.windows,
        trained=stages[-1],
    )
    vectors = encode_vocabulary(
        store, dataset.name, recipe=recipe, places=places, messages=job.messages
    )
    run = Run(
        raw=job.raw,
        messages=job.messages,
        windows=job.windows,
        stages=tuple(stages),
        predictions=predictions,
        vectors=vectors,
        others={},
    )
    return build_report(store, dataset, recipe=recipe, backbones=job.setup.backbones, run=run)


def find_run(store: Store, job: Job) -> Artifact | None:
    """The run that `run_variant` would give without any work; None where there is work left."""
    try:
        return run_variant(_Finished(data_dir=store.data_dir, remote=store.remote), job)
    except _NotThereError:
        return None


class _NotThereError(Exception):
    """Something would have to be built."""


class _Finished(Store):
    """A store that builds nothing."""

    def reuse_or_build(
        self,
        kind: Kind,
        dataset: str,
        *,
        config: Mapping[str, Json],
        inputs: Mapping[str, Artifact],
        version: int,
        build: Callable[[Path], Mapping[str, Json]],
    ) -> Artifact:
        found = self.find(kind, dataset, config=config, inputs=inputs, version=version)
        if found is None:
            raise _NotThereError
        return found
