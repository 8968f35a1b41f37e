"""The flow `train-logllm`: from a raw log to a report."""

from prefect import flow

from flows.evaluate import evaluate, run_stages
from flows.prepare import prepare
from flows.run_log import log_to_prefect
from flows.settings import TrainSettings
from logllm_core.model.places import backbones_named
from logllm_core.store import Artifact
from tasks import models

DEFAULTS = TrainSettings()


@flow(name="train-logllm", flow_run_name="train-{dataset}")
def train_logllm(dataset: str, settings: TrainSettings = DEFAULTS) -> Artifact:
    """Prepare the data set, train stage after stage, evaluate on the test split.

    What exists is reused, so the same call again goes on where the last one stopped.
    """
    log_to_prefect()
    found = settings.find_dataset(dataset)
    recipe = settings.find_recipe()
    backbones_named(settings.backbones)  # a wrong name is told before any work
    prepared = prepare(found, recipe, settings)
    places = models.find_backbones(settings.store, settings.backbones)
    stages = run_stages(found, recipe, places, prepared, settings, may_train=True)
    return evaluate(found, recipe, places, prepared, stages, settings)
