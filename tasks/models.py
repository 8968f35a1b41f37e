"""Tasks that make pretrained models ready, and decide which trained one is the champion."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from logllm_core.daily.champion import decisions, kept_models
from logllm_core.model import Pooling, backbones
from logllm_core.model.sources.named_backbones import Places
from logllm_core.store.store import Artifact, Store


@task(task_run_name="find-backbones-{name}", cache_policy=NO_CACHE)
def find_backbones(store: Store, name: str, pooling: Pooling | None) -> Places:
    return backbones.find_backbones(store, name, pooling)


@task(task_run_name="promote-first-{run.dataset}", cache_policy=NO_CACHE)
def promote_first(store: Store, run: Artifact) -> decisions.Champion:
    return decisions.promote_first(store, run)


@task(task_run_name="decide-{run.dataset}", cache_policy=NO_CACHE)
def decide(
    store: Store, run: Artifact, over: decisions.Champion, *, is_promoted: bool, reason: str
) -> decisions.Decision:
    return decisions.decide(store, run, over=over, is_promoted=is_promoted, reason=reason)


@task(task_run_name="keep-last-{dataset}", cache_policy=NO_CACHE)
def keep_last(store: Store, dataset: str, num_models: int) -> list[str]:
    return kept_models.keep_last(store, dataset, num_models)
