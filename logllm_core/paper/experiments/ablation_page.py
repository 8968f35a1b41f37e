"""All variants beside each other: `ablation.json` for programs, `ablation.html` for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.pages.html import render_page
from logllm_core.paper.experiments.ablation import (
    FILE_NAME,
    PAGE_NAME,
    Ablation,
    AblationGroup,
    AblationRow,
    verdict,
)
from logllm_core.paper.experiments.ablation_rows import describe, read_run, spread_of_seeds
from logllm_core.paper.experiments.ablation_table import GROUPS, RECIPE, Plan
from logllm_core.paper.experiments.beta_figure import draw
from logllm_core.paper.experiments.paper_tables import DATASETS
from logllm_core.results import json_files
from logllm_core.results.report import DATASET_FACTS
from logllm_core.store.store import Artifact, Json, Store

VERSION = 2
TEMPLATES = Path(__file__).parent / "templates"


def build_ablation(store: Store, plan: Plan, outcomes: Sequence[Artifact | str]) -> Artifact:
    """Measure all variants beside the recipe itself and the paper's tables; write both files.

    Args:
        outcomes: of each setup of the plan, its run, or why there is none.

    Raises:
        LogLLMError: no variant was run.
    """
    unchanged = plan.setups[0]
    runs = {number: run for number, run in enumerate(outcomes) if isinstance(run, Artifact)}
    why_not = {number: reason for number, reason in enumerate(outcomes) if isinstance(reason, str)}
    if not runs:
        raise LogLLMError(f"No variant could be run. Of the recipe itself: {why_not[0]}")
    return store.reuse_or_build(
        "experiments",
        unchanged.dataset.name,
        config={
            "experiment": "ablation",
            "recipe": unchanged.recipe.model_dump(mode="json"),
            "backbones": unchanged.backbones,
            "dataset": unchanged.dataset.model_dump(mode="json", include=DATASET_FACTS),
            "variants": [
                {"name": trial.variant.name, "setup": trial.setup, "why_not": trial.why_not}
                for trial in plan.trials
            ],
            "why_not": {str(number): reason for number, reason in why_not.items()},
        },
        inputs={f"run {number}": run for number, run in runs.items()},
        version=VERSION,
        build=lambda out_dir: _build(out_dir, store, plan, runs, why_not),
    )


def render(ablation: Ablation) -> str:
    """The page of an ablation."""
    beta = next((group.rows for group in ablation.groups if group.name == "beta"), ())
    pictures = {"oversampling": draw(beta)} if any(row.run for row in beta) else {}
    return render_page("ablation.html.j2", ablation, pictures, {}, folder=TEMPLATES)


def _build(
    out_dir: Path,
    store: Store,
    plan: Plan,
    runs: Mapping[int, Artifact],
    why_not: Mapping[int, str],
) -> dict[str, Json]:
    ablation = _measured(store, plan, runs, why_not)
    json_files.write(out_dir / FILE_NAME, ablation)
    (out_dir / PAGE_NAME).write_text(render(ablation), encoding="utf-8")
    logger.info("{}: {}", ablation.dataset, ablation.verdict)
    return {"verdict": ablation.verdict}


def _measured(
    store: Store, plan: Plan, runs: Mapping[int, Artifact], why_not: Mapping[int, str]
) -> Ablation:
    unchanged = plan.setups[0]
    dataset, trained = unchanged.dataset, unchanged.recipe
    ran = {number: read_run(store, run) for number, run in runs.items()}
    (recipe, *rows) = describe(plan, ran, why_not)
    of_any = next(iter(ran.values())).report
    return Ablation(
        dataset=dataset.name,
        title=dataset.title,
        dataset_page=dataset.page,
        licence=dataset.licence,
        citation=dataset.citation,
        is_published=dataset.name in DATASETS,
        recipe=trained.name,
        overrides=trained.overrides,
        bounded_stages=tuple(stage.name for stage in trained.trained_stages if stage.num_samples),
        backbones=unchanged.backbones,
        verdict=verdict(recipe, rows),
        own=recipe,
        groups=tuple(
            AblationGroup(
                name=name,
                title=group.title,
                source=group.source,
                rows=_with_recipe(recipe, [row for row in rows if row.group == name]),
            )
            for name, group in GROUPS.items()
            if name != RECIPE
        ),
        seeds=spread_of_seeds(plan, ran),
        versions=of_any.versions,
        machine=of_any.machine,
    )


def _with_recipe(recipe: AblationRow, rows: Sequence[AblationRow]) -> tuple[AblationRow, ...]:
    """The recipe itself first, where it is none of these variants and one of them was run."""
    needs_it = any(row.run for row in rows) and not any(row.is_recipe for row in rows)
    return (recipe, *rows) if needs_it else tuple(rows)
