"""Tasks from the raw log to windows."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from logllm_core.logs import download, messages, views, windows
from logllm_core.logs.catalog import Dataset
from logllm_core.store import Artifact, Store

# Reuse is decided by our store: Prefect's cache keys do not see what the core does.


@task(task_run_name="obtain-log-{dataset.name}", cache_policy=NO_CACHE)
def obtain_log(store: Store, dataset: Dataset, mirror: Path | None) -> Artifact:
    return download.obtain_log(store, dataset, mirror=mirror)


@task(task_run_name="build-messages-{dataset.name}", cache_policy=NO_CACHE)
def build_messages(store: Store, dataset: Dataset, raw: Artifact) -> Artifact:
    return messages.build_messages(store, dataset, raw)


@task(task_run_name="build-windows-{dataset.name}", cache_policy=NO_CACHE)
def build_windows(
    store: Store, dataset: Dataset, parsed: Artifact, validation_fraction: float
) -> Artifact:
    return windows.build_windows(store, dataset, parsed, validation_fraction=validation_fraction)


@task(cache_policy=NO_CACHE)
def refresh_views(store: Store) -> Path:
    return views.refresh_views(store)
