"""One variant from prepared windows to a run: stages, predictions, report.

The run is an ordinary one, which `logllm runs` lists. All that variants have in common is found in
the store: without stage 3, say, is the recipe itself up to stage 2.
"""

from dataclasses import dataclass

from logllm_core.paper.experiments.ablation_table import Setup
from logllm_core.pipeline import Pipeline, Prepared
from logllm_core.store.finished_store import FinishedStore, UnfinishedError
from logllm_core.store.store import Artifact, Store
from logllm_core.training.stage_plan import Execution


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A variant to be run: its setup, and the windows prepared for it."""

    name: str  # for log lines
    setup: Setup
    prepared: Prepared
    execution: Execution


def run_variant(store: Store, job: Job) -> Artifact:
    """Train and score what is not there yet, and report; returns the run.

    Raises:
        LogLLMError: backbones that are not there, too little memory, text that does not fit, a
            training that was asked to stop, or whatever else a training may say.
    """
    pipeline, setup = Pipeline(store=store), job.setup
    basis = pipeline.basis(setup.dataset, setup.recipe, setup.backbones, job.prepared)
    return pipeline.evaluate([pipeline.train(basis, job.execution)])


def find_run(store: Store, job: Job) -> Artifact | None:
    """The run that `run_variant` would give without any work; None where there is work left."""
    try:
        return run_variant(FinishedStore(data_dir=store.data_dir, remote=store.remote), job)
    except UnfinishedError:
        return None
