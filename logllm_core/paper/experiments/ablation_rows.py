"""What each variant reached and cost, beside the recipe itself and beside the paper."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from logllm_core import tables
from logllm_core.evaluation.detector_figures import over_seeds
from logllm_core.evaluation.measures.intervals import differences
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.pages import MODEL
from logllm_core.pages.figures_as_text import PEAKS, Content, figures_of
from logllm_core.paper.experiments import paper_tables
from logllm_core.paper.experiments.ablation_table import GROUPS, Plan, Trial
from logllm_core.store.runs import read_report
from logllm_core.store.store import Artifact, Json, Store

FIGURES = ("precision", "recall", "f1", "f1_at_validation_threshold", "pr_auc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A run, with what its report and its predictions say of the test windows."""

    run: Artifact
    report: Content
    is_anomalous: Labels
    scores: Scores


def read_run(store: Store, run: Artifact) -> Ran:
    wanted = run.manifest["inputs"]["predictions"]
    predictions = store.newest("predictions", run.dataset, wanted)
    assert predictions is not None, "a run was just made from them"
    table = tables.read(predictions.path / "split=test", tables.PREDICTIONS)
    return Ran(
        run=run,
        report=read_report(run),
        is_anomalous=table["is_anomalous"].to_numpy().astype(bool),
        scores=table["probability"].to_numpy(),
    )


def describe(plan: Plan, ran: Mapping[int, Ran], why_not: Mapping[int, str]) -> list[Json]:
    """A row a trial of the plan, in its order.

    Args:
        ran: the setups that were run, by their place.
        why_not: of the others.
    """
    to_recipe = _differences(plan, ran)
    return [_row(trial, plan, ran, why_not, to_recipe) for trial in plan.trials]


def spread_of_seeds(plan: Plan, ran: Mapping[int, Ran]) -> dict[str, Json] | None:
    """Mean and spread over the group "seeds"; None with fewer than two of them."""
    places = [trial.place for trial in plan.trials if trial.variant.group == "seeds"]
    found = {
        plan.setups[place].recipe.seed: ran[place]
        for place in places
        if place is not None and place in ran
    }
    if not found:
        return None
    is_anomalous = next(iter(found.values())).is_anomalous
    return over_seeds(is_anomalous, {seed: one.scores for seed, one in found.items()})


def _differences(plan: Plan, ran: Mapping[int, Ran]) -> dict[int, dict[str, Json]]:
    """Each variant's F1 minus the recipe's, where both judged the same windows."""
    own = ran.get(0)
    if own is None:
        return {}
    places = [
        place
        for place in ran
        if place and plan.setups[place].dataset.windows == plan.setups[0].dataset.windows
    ]
    assert all(np.array_equal(ran[place].is_anomalous, own.is_anomalous) for place in places)
    found = differences(own.is_anomalous, own.scores, [ran[p].scores for p in places], "f1")
    return {
        place: {
            "difference": 0.0 - both[0],  # and never -0.0
            "interval": both[1] and [0.0 - bound for bound in reversed(both[1])],
        }
        for place, both in zip(places, found, strict=True)
        if both
    }


def _row(
    trial: Trial,
    plan: Plan,
    ran: Mapping[int, Ran],
    why_not: Mapping[int, str],
    to_recipe: Mapping[int, Json],
) -> dict[str, Json]:
    variant, place = trial.variant, trial.place
    found = None if place is None else ran.get(place)
    row: dict[str, Json] = {
        "name": variant.name,
        "group": variant.group,
        "title": variant.title,
        "beta": variant.changes.get("beta"),
        "is_recipe": place == 0,
        "changes": {} if place is None else _changes(plan, place),
        "published": _published(plan.setups[0].dataset.name, trial),
    }
    if found is None:
        reason = trial.why_not if place is None else why_not[place]
        nothing = dict.fromkeys(("run", "figures", "difference", "cost"))
        return {**row, **nothing, "why_not": reason}
    measured = figures_of(found.report["detectors"][MODEL])
    return {
        **row,
        "run": found.run.fingerprint,
        "figures": {
            key: {"value": measured[key][0], "interval": measured[key][1]} for key in FIGURES
        },
        "difference": to_recipe.get(place) if place else None,
        "cost": _cost(found.report),
        "why_not": None,
    }


def _changes(plan: Plan, place: int) -> dict[str, Json]:
    """The settings of the recipe in which this setup differs from the recipe itself."""
    own = plan.setups[0].recipe.overrides
    changed = plan.setups[place].recipe.overrides
    return {name: value for name, value in changed.items() if own.get(name, ...) != value}


def _cost(report: Content) -> dict[str, Json]:
    steps = [*report["stages"], report["scoring"]]
    return {
        "training_minutes": sum(stage["training_seconds"] for stage in report["stages"]) / 60,
        "scoring_minutes": report["scoring"]["scoring_seconds"] / 60,
        "num_steps": sum(stage["num_steps"] for stage in report["stages"]),
        **{peak: max(step[peak] for step in steps) for peak in PEAKS},
    }


def _published(dataset: str, trial: Trial) -> dict[str, Json] | None:
    """What the paper prints; None where it has no such row, or none for this data set.

    `f1` is None where the row says that memory was not enough.
    """
    printed = trial.variant.printed
    rows = GROUPS[trial.variant.group].published.get(dataset, {})
    if printed is None or printed not in rows:
        return None
    found = rows[printed]
    cost = paper_tables.EMBEDDER_COSTS[dataset].get(printed)
    return {
        **(dict.fromkeys(("precision", "recall", "f1")) if found is None else asdict(found)),
        **(dict.fromkeys(("gpu_memory_gb", "training_minutes")) if cost is None else asdict(cost)),
    }
