"""Tasks of the paper's experiments."""

from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from logllm_core.config import Settings
from logllm_core.detectors import running
from logllm_core.detectors.interface import Method
from logllm_core.experiments import ablation, comparing, side_by_side, standing
from logllm_core.experiments.ablating import Job
from logllm_core.experiments.contenders import Contender
from logllm_core.experiments.variants import Plan
from logllm_core.logs.catalog import Dataset
from logllm_core.model.places import Places
from logllm_core.pages import markdown
from logllm_core.store import Artifact, Store


@task(task_run_name="run-{method.name}", cache_policy=NO_CACHE)
def run_method(
    store: Store,
    dataset: str,
    method: Method,
    settings: Settings,
    seed: int,
    places: Places,
    messages: Artifact,
    windows: Artifact,
    checkpoint_minutes: float,
) -> Artifact:
    return running.run_method(
        store,
        dataset,
        method=method,
        settings=settings,
        seed=seed,
        places=places,
        messages=messages,
        windows=windows,
        checkpoint_minutes=checkpoint_minutes,
    )


@task(task_run_name="build-comparison-{dataset.name}", cache_policy=NO_CACHE)
def build_comparison(
    store: Store,
    dataset: Dataset,
    backbones: str,
    contenders: Sequence[Contender],
    material: comparing.Material,
) -> Artifact:
    return comparing.build_comparison(
        store, dataset, backbones=backbones, contenders=contenders, material=material
    )


@task(task_run_name="publish-comparison-{built.dataset}", cache_policy=NO_CACHE)
def publish_comparison(built: Artifact) -> None:
    """The figures and costs of all detectors as a Prefect table."""
    content = comparing.read_comparison(built)
    rows = [
        row | {"note": markdown.escape(row["note"])} for row in standing.comparison_rows(content)
    ]
    create_table_artifact(
        key=f"comparison-{built.dataset.replace('_', '-')}",
        table=rows,
        description=markdown.escape(content["verdict"]),
    )


@task(task_run_name="run-variants", cache_policy=NO_CACHE)
def run_variants(store: Store, jobs: Sequence[Job]) -> list[Artifact | str]:
    """One task for all: they run side by side, and a signal has to reach them from one place."""
    return side_by_side.run_all(store, jobs)


@task(task_run_name="build-ablation", cache_policy=NO_CACHE)
def build_ablation(store: Store, plan: Plan, outcomes: Sequence[Artifact | str]) -> Artifact:
    return ablation.build_ablation(store, plan, outcomes)


@task(task_run_name="publish-ablation-{built.dataset}", cache_policy=NO_CACHE)
def publish_ablation(built: Artifact) -> None:
    """The figures of all variants as a Prefect table."""
    content = ablation.read_ablation(built)
    rows = [row | {"note": markdown.escape(row["note"])} for row in ablation.ablation_rows(content)]
    create_table_artifact(
        key=f"ablation-{built.dataset.replace('_', '-')}",
        table=rows,
        description=markdown.escape(content["verdict"]),
    )
