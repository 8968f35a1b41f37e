"""Tasks that ask the model."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from logllm_core.daily.detect import detect as watching
from logllm_core.daily.detect.detect_result import Detected
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.model.sources.named_backbones import Places
from logllm_core.pages.renewed_pages import renew
from logllm_core.scoring import encoder_vectors, predictions
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import Recipe


@task(task_run_name="predict-{dataset}", cache_policy=NO_CACHE)
def predict(
    store: Store,
    dataset: str,
    recipe: Recipe,
    places: Places,
    messages: Artifact,
    windows: Artifact,
    trained: Artifact,
) -> Artifact:
    return predictions.predict(
        store,
        dataset,
        recipe=recipe,
        places=places,
        messages=messages,
        windows=windows,
        trained=trained,
    )


@task(task_run_name="encode-{dataset}", cache_policy=NO_CACHE)
def encode_vocabulary(
    store: Store, dataset: str, recipe: Recipe, places: Places, messages: Artifact
) -> Artifact | None:
    return encoder_vectors.encode_vocabulary(
        store, dataset, recipe=recipe, places=places, messages=messages
    )


@task(task_run_name="detect-{dataset.name}", cache_policy=NO_CACHE)
def detect(store: Store, dataset: Dataset, files: Sequence[str]) -> Detected:
    return watching.detect(store, dataset, files, publish=lambda: renew(store, dataset.name))
