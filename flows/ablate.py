"""The flow `ablate-logllm`: the paper's ablations, as one table of variants."""

from loguru import logger
from prefect import flow

from flows.flow_pipeline import pipeline_of
from flows.run_log import log_to_prefect
from flows.settings import AblateSettings
from logllm_core.errors import LogLLMError
from logllm_core.model.sources.named_backbones import backbones_named
from logllm_core.paper.experiments.ablation_page import build_ablation
from logllm_core.paper.experiments.ablation_processes import run_all
from logllm_core.paper.experiments.ablation_table import Plan, Setup, plan
from logllm_core.paper.experiments.run_variant import Job
from logllm_core.pipeline import Prepared
from logllm_core.store.store import Artifact
from logllm_core.training.sampling import check_labelled
from logllm_core.training.stage_plan import check_shares
from tasks import shown_in_prefect, step_tasks

DEFAULTS = AblateSettings()


@flow(name="ablate-logllm", flow_run_name="ablate-{dataset}")
def ablate_logllm(dataset: str, settings: AblateSettings = DEFAULTS) -> Artifact:
    """Train and evaluate each variant of the recipe, and put all of them on one page.

    Variants run side by side, one a card (or a group of cards, with several processes). What exists
    is reused, so the same call again goes on where the last one stopped. A variant that cannot be
    run here is a row that says why.
    """
    log_to_prefect()
    described = settings.find_dataset(dataset)
    # What is wrong with the settings is told before any work.
    for backbones in (settings.backbones, *settings.sizes):
        backbones_named(backbones)
    own = Setup(dataset=described, recipe=settings.find_recipe(), backbones=settings.backbones)
    planned = plan(own, sizes=settings.sizes, num_seeds=settings.num_seeds, only=settings.only)
    check_labelled(described.name, is_labelled=described.labels is not None)
    check_shares(own.recipe, settings.num_processes)
    outcomes = _run(planned, settings)
    built = step_tasks.run(build_ablation, settings.store, planned, outcomes)
    shown_in_prefect.publish_ablation(built)
    pipeline_of(settings).refresh_views()
    return built


def _run(planned: Plan, settings: AblateSettings) -> list[Artifact | str]:
    """Of each setup its run, or why there is none."""
    prepared = _prepare(planned, settings)
    jobs = {
        place: Job(
            name=planned.name(place),
            setup=setup,
            prepared=made,
            execution=settings.execution,
        )
        for place, setup in enumerate(planned.setups)
        if isinstance(made := prepared[place], Prepared)
    }
    ran = step_tasks.run(run_all, settings.store, list(jobs.values()))
    runs = dict(zip(jobs, ran, strict=True))
    faults = {place: made for place, made in enumerate(prepared) if isinstance(made, str)}
    return [(runs | faults)[place] for place in range(len(planned.setups))]


def _prepare(planned: Plan, settings: AblateSettings) -> list[Prepared | str]:
    """The windows of each setup, or why it has none; setups that differ in training share them."""
    own, *others = planned.setups
    prepare = pipeline_of(settings).prepare
    made: dict[object, Prepared | str] = {_windows_of(own): prepare(own.dataset, own.recipe)}
    for setup in others:
        if _windows_of(setup) not in made:
            try:
                made[_windows_of(setup)] = prepare(setup.dataset, setup.recipe)
            except LogLLMError as fault:
                logger.warning("{}: {}", setup.dataset.title, fault)
                made[_windows_of(setup)] = str(fault)
    if len(made) > 1:  # the views show the windows that were asked for last
        prepare(own.dataset, own.recipe)
    return [made[_windows_of(setup)] for setup in planned.setups]


def _windows_of(setup: Setup) -> object:
    """What decides a setup's windows."""
    recipe = setup.recipe
    return setup.dataset.windows, recipe.masking, recipe.validation_fraction
