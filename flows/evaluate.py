"""The flow `evaluate-logllm`: what a trained model is worth on the test split."""

from prefect import flow

from flows.prepare import Prepared, prepare
from flows.run_log import log_to_prefect
from flows.settings import TrainSettings
from logllm_core.evaluation.report import Run
from logllm_core.logs.catalog import Dataset
from logllm_core.model.backbones import Places
from logllm_core.store import Artifact
from logllm_core.training.recipes import Recipe
from tasks import detection, evaluation, logs, models, training

DEFAULTS = TrainSettings()


@flow(name="evaluate-logllm", flow_run_name="evaluate-{dataset}")
def evaluate_logllm(dataset: str, settings: TrainSettings = DEFAULTS) -> Artifact:
    """Score the test split with the model that these settings trained, and report.

    Nothing is trained here: a model that is not there is an error.
    """
    log_to_prefect()
    found = settings.find_dataset(dataset)
    recipe = settings.find_recipe()
    prepared = prepare(found, settings)
    places = models.find_backbones(settings.store, settings.backbones)
    stages = find_stages(found, recipe, places, prepared, settings, must_exist=True)
    return evaluate(found, recipe, places, prepared, stages, settings)


def find_stages(
    dataset: Dataset,
    recipe: Recipe,
    places: Places,
    prepared: Prepared,
    settings: TrainSettings,
    *,
    must_exist: bool,
) -> list[Artifact]:
    """The recipe's stages in order, each from the one before; trained where they are not there."""
    stages: list[Artifact] = []
    for stage in recipe.stages:
        stages.append(
            training.train_stage(
                settings.store,
                dataset.name,
                stage.name,
                recipe,
                places,
                prepared.messages,
                prepared.windows,
                stages[-1] if stages else None,
                must_exist,
            )
        )
    return stages


def evaluate(
    dataset: Dataset,
    recipe: Recipe,
    places: Places,
    prepared: Prepared,
    stages: list[Artifact],
    settings: TrainSettings,
) -> Artifact:
    """Predictions, the report, its Prefect artifacts and the views; returns the report."""
    store = settings.store
    predictions = detection.predict(
        store, dataset.name, recipe, places, prepared.messages, prepared.windows, stages[-1]
    )
    run = Run(
        raw=prepared.raw,
        messages=prepared.messages,
        windows=prepared.windows,
        stages=tuple(stages),
        predictions=predictions,
    )
    report = evaluation.build_report(store, dataset, recipe, settings.backbones, run)
    evaluation.publish_report(report)
    logs.refresh_views(store)
    return report
