"""What each variant reached and cost, beside the recipe itself and beside the paper."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from logllm_core.evaluation.detector_figures import over_seeds
from logllm_core.evaluation.measures.intervals import differences
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.evaluation.measures.scored_windows import read_labels, read_scores
from logllm_core.paper.experiments import paper_tables
from logllm_core.paper.experiments.ablation import AblationRow, PublishedVariant, VariantCost
from logllm_core.paper.experiments.ablation_table import GROUPS, Plan, Trial
from logllm_core.results.figures import Difference, Interval, OverSeeds
from logllm_core.results.json_files import read_report
from logllm_core.results.report import Report
from logllm_core.results.training import peaks
from logllm_core.store.store import Artifact, Store

FIGURES = ("precision", "recall", "f1", "f1_at_validation_threshold", "pr_auc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A run, with what its report and its predictions say of the test windows."""

    run: Artifact
    report: Report
    is_anomalous: Labels
    scores: Scores


def read_run(store: Store, run: Artifact) -> Ran:
    wanted = run.manifest["inputs"]["predictions"]
    predictions = store.newest("predictions", run.dataset, wanted)
    assert predictions is not None, "a run was just made from them"
    return Ran(
        run=run,
        report=read_report(run),
        is_anomalous=read_labels(predictions, "test"),
        scores=read_scores(predictions, "test"),
    )


def describe(plan: Plan, ran: Mapping[int, Ran], why_not: Mapping[int, str]) -> list[AblationRow]:
    """A row a trial of the plan, in its order.

    Args:
        ran: the setups that were run, by their number in the plan.
        why_not: of the others.
    """
    to_recipe = _differences(plan, ran)
    return [_row(trial, plan, ran, why_not, to_recipe) for trial in plan.trials]


def spread_of_seeds(plan: Plan, ran: Mapping[int, Ran]) -> OverSeeds | None:
    """Mean and spread over the group "seeds"; None with fewer than two of them."""
    of_seeds = [trial.setup for trial in plan.trials if trial.variant.group == "seeds"]
    by_seed = {
        plan.setups[setup].recipe.seed: ran[setup]
        for setup in of_seeds
        if setup is not None and setup in ran
    }
    if not by_seed:
        return None
    is_anomalous = next(iter(by_seed.values())).is_anomalous
    return over_seeds(is_anomalous, {seed: of_seed.scores for seed, of_seed in by_seed.items()})


def _differences(plan: Plan, ran: Mapping[int, Ran]) -> dict[int, Difference]:
    """Each variant's F1 minus the recipe's, where both judged the same windows."""
    recipe = ran.get(0)
    if recipe is None:
        return {}
    setups = [
        setup
        for setup in ran
        if setup and plan.setups[setup].dataset.windows == plan.setups[0].dataset.windows
    ]
    labels = recipe.is_anomalous
    assert all(np.array_equal(ran[setup].is_anomalous, labels) for setup in setups)
    paired = differences(labels, recipe.scores, [ran[setup].scores for setup in setups], "f1")
    return {
        setup: _turned(recipe_minus_variant)
        for setup, recipe_minus_variant in zip(setups, paired, strict=True)
        if recipe_minus_variant
    }


def _turned(paired: Difference) -> Difference:
    """The same the other way round, and never -0.0."""
    interval = paired.interval
    return Difference(
        difference=0.0 - paired.difference,
        interval=Interval(0.0 - interval.high, 0.0 - interval.low) if interval else None,
    )


def _row(
    trial: Trial,
    plan: Plan,
    ran: Mapping[int, Ran],
    why_not: Mapping[int, str],
    to_recipe: Mapping[int, Difference],
) -> AblationRow:
    variant, setup = trial.variant, trial.setup
    row = AblationRow(
        name=variant.name,
        group=variant.group,
        title=variant.title,
        beta=variant.changes.get("beta"),
        is_recipe=setup == 0,
        changes={} if setup is None else _changes(plan, setup),
        published=_published(plan.setups[0].dataset.name, trial),
    )
    if setup is None or setup not in ran:
        return replace(row, why_not=trial.why_not if setup is None else why_not[setup])
    of_model = ran[setup].report.model.by_name
    return replace(
        row,
        run=ran[setup].run.fingerprint,
        figures={key: of_model[key] for key in FIGURES},
        difference=to_recipe.get(setup),
        cost=_cost(ran[setup].report),
    )


def _changes(plan: Plan, setup: int) -> dict[str, object]:
    """The settings of the recipe in which this setup differs from the recipe itself."""
    unchanged = plan.setups[0].recipe.overrides
    changed = plan.setups[setup].recipe.overrides
    return {name: value for name, value in changed.items() if unchanged.get(name, ...) != value}


def _cost(report: Report) -> VariantCost:
    peak = peaks([*report.stages, report.scoring])
    return VariantCost(
        training_minutes=sum(stage.training_seconds for stage in report.stages) / 60,
        scoring_minutes=report.scoring.scoring_seconds / 60,
        num_steps=sum(stage.num_steps for stage in report.stages),
        peak_memory_bytes=peak.peak_memory_bytes,
        peak_gpu_memory_bytes=peak.peak_gpu_memory_bytes,
    )


def _published(dataset: str, trial: Trial) -> PublishedVariant | None:
    printed = trial.variant.printed
    rows = GROUPS[trial.variant.group].published.get(dataset, {})
    if printed is None or printed not in rows:
        return None
    figures, cost = rows[printed], paper_tables.EMBEDDER_COSTS[dataset].get(printed)
    return PublishedVariant(
        precision=figures.precision if figures else None,
        recall=figures.recall if figures else None,
        f1=figures.f1 if figures else None,
        gpu_memory_gb=cost.gpu_memory_gb if cost else None,
        training_minutes=cost.training_minutes if cost else None,
    )
