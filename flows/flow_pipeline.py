"""The pipeline as flows run it, and what trainings and evaluations have in common."""

from dataclasses import replace

from loguru import logger

from flows.data_settings import PrepareSettings
from flows.run_log import log_to_prefect
from flows.settings import TrainSettings
from flows.shards import build_parts
from logllm_core.errors import LogLLMError
from logllm_core.model.sources.named_backbones import backbones_named
from logllm_core.pipeline import Pipeline, Prepared, Trained
from logllm_core.store.store import Artifact
from logllm_core.training.sampling import check_labelled
from tasks import shown_in_prefect, step_tasks


def pipeline_of(settings: PrepareSettings) -> Pipeline:
    """Each step a task, and the files of a log read side by side."""
    return Pipeline(
        store=settings.store,
        run=step_tasks.run,
        mirror=settings.archive_mirror,
        read_files=lambda dataset, raw, is_masked: build_parts(
            settings, dataset, raw, is_masked=is_masked
        ),
    )


def report_on(name: str, settings: TrainSettings, *, may_train: bool) -> Artifact:
    """Prepare the data set, train or find the stages of each seed, evaluate: the report."""
    log_to_prefect()
    dataset = settings.find_dataset(name)
    recipes = settings.find_recipes()
    backbones_named(settings.backbones)  # a wrong name is told before any work
    pipeline = pipeline_of(settings)
    prepared = pipeline.prepare(dataset, recipes[0])
    _check_choice(prepared, settings)
    check_labelled(dataset.name, is_labelled=dataset.labels is not None)
    basis = pipeline.basis(dataset, recipes[0], settings.backbones, prepared)
    trained: list[Trained] = []
    for number, recipe in enumerate(recipes, start=1):
        if len(recipes) > 1:
            logger.info("{}: seed {} ({} of {})", dataset.name, recipe.seed, number, len(recipes))
        execution = settings.execution if may_train else None
        trained.append(pipeline.train(replace(basis, recipe=recipe), execution))
    report = pipeline.evaluate(trained, chooses_seed=settings.chooses_seed)
    shown_in_prefect.publish_report(report)
    pipeline.refresh_views()
    return report


def _check_choice(prepared: Prepared, settings: TrainSettings) -> None:
    """A seed can be chosen by validation windows only where there are some."""
    windows = prepared.windows
    if settings.chooses_seed and not windows.results["splits"]["validation"]["num_windows"]:
        raise LogLLMError(
            f"The validation split of {windows.dataset} holds no window, and --keep best chooses a "
            "seed by it. Raise validation_fraction with --set, or give --keep first."
        )
