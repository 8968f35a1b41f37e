"""Tasks of the paper's experiments."""

from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from logllm_core.config import Settings
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.model.sources.named_backbones import Places
from logllm_core.pages import markdown
from logllm_core.paper.building_blocks.interface import Method
from logllm_core.paper.detectors import detector_scores
from logllm_core.paper.experiments import (
    ablation_page,
    ablation_processes,
    compare_methods,
    standing,
)
from logllm_core.paper.experiments.ablation_table import Plan
from logllm_core.paper.experiments.contenders import Contender
from logllm_core.paper.experiments.run_variant import Job
from logllm_core.store.store import Artifact, Store


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
    return detector_scores.run_method(
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
    material: compare_methods.Material,
) -> Artifact:
    return compare_methods.build_comparison(
        store, dataset, backbones=backbones, contenders=contenders, material=material
    )


@task(task_run_name="publish-comparison-{built.dataset}", cache_policy=NO_CACHE)
def publish_comparison(built: Artifact) -> None:
    """The figures and costs of all detectors as a Prefect table."""
    content = compare_methods.read_comparison(built)
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
    return ablation_processes.run_all(store, jobs)


@task(task_run_name="build-ablation", cache_policy=NO_CACHE)
def build_ablation(store: Store, plan: Plan, outcomes: Sequence[Artifact | str]) -> Artifact:
    return ablation_page.build_ablation(store, plan, outcomes)


@task(task_run_name="publish-ablation-{built.dataset}", cache_policy=NO_CACHE)
def publish_ablation(built: Artifact) -> None:
    """The figures of all variants as a Prefect table."""
    content = ablation_page.read_ablation(built)
    rows = [
        row | {"note": markdown.escape(row["note"])} for row in ablation_page.ablation_rows(content)
    ]
    create_table_artifact(
        key=f"ablation-{built.dataset.replace('_', '-')}",
        table=rows,
        description=markdown.escape(content["verdict"]),
    )
