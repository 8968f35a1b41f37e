"""Tasks that train."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from logllm_core.model.places import Places
from logllm_core.store import Artifact, Store
from logllm_core.training import stage
from logllm_core.training.recipes import Recipe


@task(task_run_name="train-stage-{stage_name}", cache_policy=NO_CACHE)
def train_stage(
    store: Store,
    dataset: str,
    stage_name: str,
    recipe: Recipe,
    places: Places,
    messages: Artifact,
    windows: Artifact,
    previous: Artifact | None,
) -> Artifact:
    return stage.train_stage(
        store,
        dataset,
        stage_name=stage_name,
        recipe=recipe,
        places=places,
        messages=messages,
        windows=windows,
        previous=previous,
    )


@task(task_run_name="find-stage-{stage_name}", cache_policy=NO_CACHE)
def find_stage(
    store: Store,
    dataset: str,
    stage_name: str,
    recipe: Recipe,
    places: Places,
    messages: Artifact,
    windows: Artifact,
    previous: Artifact | None,
) -> Artifact:
    return stage.find_stage(
        store,
        dataset,
        stage_name=stage_name,
        recipe=recipe,
        places=places,
        messages=messages,
        windows=windows,
        previous=previous,
    )
