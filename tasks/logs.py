"""Tasks from the raw log to windows."""

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages import file_messages, log_messages
from logllm_core.logs.sources import raw_log
from logllm_core.logs.windows import window_artifact
from logllm_core.query import views
from logllm_core.store.store import Artifact, Store

# Reuse is decided by our store: Prefect's cache keys do not see what the core does.


@task(task_run_name="obtain-log-{dataset.name}", cache_policy=NO_CACHE)
def obtain_log(store: Store, dataset: Dataset, mirror: Path | None) -> Artifact:
    return raw_log.obtain_log(store, dataset, mirror=mirror)


@task(task_run_name="build-parts-{dataset.name}", cache_policy=NO_CACHE)
def build_parts(
    store: Store,
    dataset: Dataset,
    raw: Artifact,
    files: Sequence[raw_log.RawFile],
    is_masked: bool,
) -> list[Artifact]:
    return [
        file_messages.build_part(store, dataset, raw, file, is_masked=is_masked) for file in files
    ]


@task(task_run_name="find-messages-{dataset.name}", cache_policy=NO_CACHE)
def find_messages(
    store: Store, dataset: Dataset, raw: Artifact, preprocessing: log_messages.Masking
) -> Artifact | None:
    return log_messages.find_messages(store, dataset, raw, preprocessing=preprocessing)


@task(task_run_name="build-messages-{dataset.name}", cache_policy=NO_CACHE)
def build_messages(
    store: Store,
    dataset: Dataset,
    raw: Artifact,
    built: Sequence[Artifact],
    preprocessing: log_messages.Masking,
) -> Artifact:
    return log_messages.build_messages(store, dataset, raw, built, preprocessing=preprocessing)


@task(task_run_name="build-windows-{dataset.name}", cache_policy=NO_CACHE)
def build_windows(
    store: Store, dataset: Dataset, parsed: Artifact, validation_fraction: float
) -> Artifact:
    return window_artifact.build_windows(
        store, dataset, parsed, validation_fraction=validation_fraction
    )


@task(cache_policy=NO_CACHE)
def refresh_views(store: Store) -> Path:
    return views.refresh_views(store)
