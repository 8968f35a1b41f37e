"""The steps that trainings and evaluations share: from a raw log to a report."""

from collections.abc import Sequence

from loguru import logger

from flows.prepare import Prepared, prepare
from flows.run_log import log_to_prefect
from flows.settings import RetrainSettings, TrainSettings
from logllm_core.evaluation.report import Run
from logllm_core.logs.catalog import Dataset
from logllm_core.model.places import Places, backbones_named
from logllm_core.store import Artifact, Store
from logllm_core.training.plan import StagePlan
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import check_labelled
from tasks import detection, evaluation, logs, models, training


def report_on(name: str, settings: TrainSettings, *, may_train: bool) -> Artifact:
    """Prepare the data set, train or find the stages of each seed, evaluate: the report."""
    log_to_prefect()
    dataset = settings.find_dataset(name)
    recipes = settings.find_recipes()
    backbones_named(settings.backbones)  # a wrong name is told before any work
    prepared = prepare(dataset, recipes[0], settings)
    check_labelled(dataset.name, is_labelled=dataset.labels is not None)
    places = models.find_backbones(settings.store, settings.backbones, recipes[0].pooling)
    trained = []
    for number, recipe in enumerate(recipes, start=1):
        if len(recipes) > 1:
            logger.info("{}: seed {} ({} of {})", dataset.name, recipe.seed, number, len(recipes))
        trained.append(run_stages(dataset, recipe, places, prepared, settings, may_train=may_train))
    return evaluate(settings.store, dataset, recipes, settings.backbones, places, prepared, trained)


def run_stages(
    dataset: Dataset,
    recipe: Recipe,
    places: Places,
    prepared: Prepared,
    settings: TrainSettings | RetrainSettings,
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
    store: Store,
    dataset: Dataset,
    recipes: Sequence[Recipe],
    backbones: str,
    places: Places,
    prepared: Prepared,
    trained: Sequence[Sequence[Artifact]],
) -> Artifact:
    """Predictions, the report, its Prefect artifacts and the views; returns the report.

    Args:
        recipes: one a seed; the report is about the first, and tells the spread over all.
        backbones: as a person names them.
        trained: the stages of each.
    """
    predictions: dict[int, Artifact] = {}
    # The first seed is scored last: the views show the predictions that were asked for last.
    for recipe, stages in reversed(list(zip(recipes, trained, strict=True))):
        if len(recipes) > 1:
            logger.info("{}: scoring with seed {}", dataset.name, recipe.seed)
        predictions[recipe.seed] = detection.predict(
            store, dataset.name, recipe, places, prepared.messages, prepared.windows, stages[-1]
        )
    first = recipes[0]
    run = Run(
        raw=prepared.raw,
        messages=prepared.messages,
        windows=prepared.windows,
        stages=tuple(trained[0]),
        predictions=predictions[first.seed],
        vectors=detection.encode_vocabulary(store, dataset.name, first, places, prepared.messages),
        others={recipe.seed: predictions[recipe.seed] for recipe in recipes[1:]},
    )
    report = evaluation.build_report(store, dataset, first, backbones, run)
    evaluation.publish_report(report)
    logs.refresh_views(store)
    return report
