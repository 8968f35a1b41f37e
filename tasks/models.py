"""Tasks that make pretrained models ready, and decide which trained one is the champion."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from logllm_core.detection import champion, keeping
from logllm_core.model import Pooling, backbones
from logllm_core.model.places import Places
from logllm_core.store import Artifact, Store


@task(task_run_name="find-backbones-{name}", cache_policy=NO_CACHE)
def find_backbones(store: Store, name: str, pooling: Pooling | None) -> Places:
    return backbones.find_backbones(store, name, pooling)


@task(task_run_name="promote-first-{run.dataset}", cache_policy=NO_CACHE)
def promote_first(store: Store, run: Artifact) -> champion.Champion:
    return champion.promote_first(store, run)


@task(task_run_name="decide-{run.dataset}", cache_policy=NO_CACHE)
def decide(
    store: Store, run: Artifact, over: champion.Champion, *, is_promoted: bool, reason: str
) -> champion.Decision:
    return champion.decide(store, run, over=over, is_promoted=is_promoted, reason=reason)


@task(task_run_name="keep-last-{dataset}", cache_policy=NO_CACHE)
def keep_last(store: Store, dataset: str, num_models: int) -> list[str]:
    return keeping.keep_last(store, dataset, num_models)
