"""Tasks that make pretrained models ready."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from logllm_core.model import backbones
from logllm_core.model.places import Places
from logllm_core.store import Store


@task(task_run_name="find-backbones-{name}", cache_policy=NO_CACHE)
def find_backbones(store: Store, name: str) -> Places:
    return backbones.find_backbones(store, name)
