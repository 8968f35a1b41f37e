"""The steps that `train-logllm` and `evaluate-logllm` share: from a raw log to a report."""

from flows.prepare import Prepared, prepare
from flows.run_log import log_to_prefect
from flows.settings import TrainSettings
from logllm_core.evaluation.report import Run
from logllm_core.logs.catalog import Dataset
from logllm_core.model.places import Places, backbones_named
from logllm_core.store import Artifact
from logllm_core.training.plan import StagePlan
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import check_labelled
from tasks import detection, evaluation, logs, models, training


def report_on(name: str, settings: TrainSettings, *, may_train: bool) -> Artifact:
    """Prepare the data set, train or find its stages, evaluate; returns the report."""
    log_to_prefect()
    dataset = settings.find_dataset(name)
    recipe = settings.find_recipe()
    backbones_named(settings.backbones)  # a wrong name is told before any work
    prepared = prepare(dataset, recipe, settings)
    check_labelled(dataset.name, is_labelled=dataset.labels is not None)
    places = models.find_backbones(settings.store, settings.backbones)
    stages = run_stages(dataset, recipe, places, prepared, settings, may_train=may_train)
    return evaluate(dataset, recipe, places, prepared, stages, settings)


def run_stages(
    dataset: Dataset,
    recipe: Recipe,
    places: Places,
    prepared: Prepared,
    settings: TrainSettings,
    *,
    may_train: bool,
) -> list[Artifact]:
    """The recipe's stages in order, each from the one before.

    What is not there is trained, or, where it may not be, an error.
    """
    store = settings.store
    stages: list[Artifact] = []
    for stage in recipe.trained_stages:
        plan = StagePlan(
            dataset=dataset.name,
            stage=stage,
            recipe=recipe,
            places=places,
            messages=prepared.messages,
            windows=prepared.windows,
            previous=stages[-1] if stages else None,
        )
        stages.append(
            training.train_stage(store, plan, settings.execution)
            if may_train
            else training.find_stage(store, plan)
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
