"""The flow `prepare-logs`: from a raw log to labelled windows."""

from dataclasses import dataclass

from prefect import flow

from flows.run_log import log_to_prefect
from flows.settings import PrepareSettings, RunSettings
from flows.shards import build_parts
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages.log_messages import is_masked_in_parts
from logllm_core.store.store import Artifact
from logllm_core.training.recipes import Recipe
from tasks import logs

DEFAULTS = RunSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What the flow leaves behind."""

    raw: Artifact
    messages: Artifact
    windows: Artifact


@flow(name="prepare-logs", flow_run_name="prepare-{dataset}")
def prepare_logs(dataset: str, settings: RunSettings = DEFAULTS) -> Prepared:
    """Obtain, parse and mask a log, cut it into windows and splits, and make them queryable."""
    log_to_prefect()
    return prepare(settings.find_dataset(dataset), settings.find_recipe(), settings)


def prepare(dataset: Dataset, recipe: Recipe, settings: PrepareSettings) -> Prepared:
    """The steps of `prepare-logs`, for flows that begin with them."""
    store = settings.store
    raw = logs.obtain_log(store, dataset, settings.archive_mirror)
    messages = logs.find_messages(store, dataset, raw, recipe.masking)
    if messages is None:
        parts = build_parts(
            store,
            dataset,
            raw,
            is_masked=is_masked_in_parts(recipe.masking),
            runner=settings.runner,
            num_shards=settings.num_shards,
        )
        messages = logs.build_messages(store, dataset, raw, parts, recipe.masking)
    windows = logs.build_windows(store, dataset, messages, recipe.validation_fraction)
    logs.refresh_views(store)
    return Prepared(raw=raw, messages=messages, windows=windows)
