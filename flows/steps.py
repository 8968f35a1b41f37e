"""The steps that trainings and evaluations share: from a raw log to a report."""

from collections.abc import Sequence

from loguru import logger

from flows.prepare import Prepared, prepare
from flows.run_log import log_to_prefect
from flows.settings import RetrainSettings, TrainSettings
from logllm_core.errors import LogLLMError
from logllm_core.evaluation.report import Run
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.model.sources.named_backbones import Places, backbones_named
from logllm_core.store.store import Artifact, Store
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
    _check_choice(prepared, settings)
    check_labelled(dataset.name, is_labelled=dataset.labels is not None)
    places = models.find_backbones(settings.store, settings.backbones, recipes[0].pooling)
    trained = []
    for number, recipe in enumerate(recipes, start=1):
        if len(recipes) > 1:
            logger.info("{}: seed {} ({} of {})", dataset.name, recipe.seed, number, len(recipes))
        trained.append(run_stages(dataset, recipe, places, prepared, settings, may_train=may_train))
    return evaluate(
        settings.store,
        dataset,
        recipes,
        settings.backbones,
        places,
        prepared,
        trained,
        chooses_seed=settings.chooses_seed,
    )


def _check_choice(prepared: Prepared, settings: TrainSettings) -> None:
    """A seed can be chosen by validation windows only where there are some."""
    windows = prepared.windows
    if settings.chooses_seed and not windows.results["splits"]["validation"]["num_windows"]:
        raise LogLLMError(
            f"The validation split of {windows.dataset} holds no window, and --keep best chooses a "
            "seed by it. Raise validation_fraction with --set, or give --keep first."
        )


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
    *,
    chooses_seed: bool = False,
) -> Artifact:
    """Predictions, the report, its Prefect artifacts and the views; returns the report.

    Args:
        recipes: one a seed; the report is about the first, and tells the spread over all.
        backbones: as a person names them.
        trained: the stages of each.
        chooses_seed: the report is about the seed that the validation split prefers instead.
    """
    predictions: dict[int, Artifact] = {}
    # The first seed is scored last: the views show the predictions that were asked for last.
    for recipe, stages in reversed(list(zip(recipes, trained, strict=True))):
        if len(recipes) > 1:
            logger.info("{}: scoring with seed {}", dataset.name, recipe.seed)
        predictions[recipe.seed] = _predict(store, dataset, recipe, places, prepared, stages)
    kept, place = None, 0
    if chooses_seed:
        kept = evaluation.choose_seed(predictions)
        place = [recipe.seed for recipe in recipes].index(kept.seed)
        logger.info("{}: seed {} is kept, by the validation split", dataset.name, kept.seed)
        # Once more, for the views; nothing is computed again.
        _predict(store, dataset, recipes[place], places, prepared, trained[place])
    recipe = recipes[place]
    run = Run(
        raw=prepared.raw,
        messages=prepared.messages,
        windows=prepared.windows,
        stages=tuple(trained[place]),
        predictions=predictions[recipe.seed],
        vectors=detection.encode_vocabulary(store, dataset.name, recipe, places, prepared.messages),
        others={one.seed: predictions[one.seed] for one in recipes if one is not recipe},
        kept=kept,
    )
    report = evaluation.build_report(store, dataset, recipe, backbones, run)
    evaluation.publish_report(report)
    logs.refresh_views(store)
    return report


def _predict(
    store: Store,
    dataset: Dataset,
    recipe: Recipe,
    places: Places,
    prepared: Prepared,
    stages: Sequence[Artifact],
) -> Artifact:
    messages, windows = prepared.messages, prepared.windows
    return detection.predict(store, dataset.name, recipe, places, messages, windows, stages[-1])
