"""All variants beside each other: `ablation.json` for programs, `ablation.html` for people."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.evaluation.report import DATASET_FACTS
from logllm_core.pages.figures_as_text import Content, shown, shown_interval
from logllm_core.pages.html import render_page
from logllm_core.paper.experiments.ablation_rows import describe, read_run, spread_of_seeds
from logllm_core.paper.experiments.ablation_table import GROUPS, RECIPE, Plan
from logllm_core.paper.experiments.beta_figure import draw
from logllm_core.paper.experiments.paper_tables import DATASETS
from logllm_core.store.store import Artifact, Json, Store

VERSION = 2
TEMPLATES = Path(__file__).parent / "templates"
FILE_NAME, PAGE_NAME = "ablation.json", "ablation.html"


def build_ablation(store: Store, plan: Plan, outcomes: Sequence[Artifact | str]) -> Artifact:
    """Measure all variants beside the recipe itself and the paper's tables; write both files.

    Args:
        outcomes: of each setup of the plan, its run, or why there is none.

    Raises:
        LogLLMError: no variant was run.
    """
    own = plan.setups[0]
    runs = {place: found for place, found in enumerate(outcomes) if isinstance(found, Artifact)}
    why_not = {place: found for place, found in enumerate(outcomes) if isinstance(found, str)}
    if not runs:
        raise LogLLMError(f"No variant could be run. Of the recipe itself: {why_not[0]}")
    return store.reuse_or_build(
        "experiments",
        own.dataset.name,
        config={
            "experiment": "ablation",
            "recipe": own.recipe.model_dump(mode="json"),
            "backbones": own.backbones,
            "dataset": own.dataset.model_dump(mode="json", include=set(DATASET_FACTS)),
            "variants": [
                {"name": trial.variant.name, "setup": trial.place, "why_not": trial.why_not}
                for trial in plan.trials
            ],
            "why_not": {str(place): reason for place, reason in why_not.items()},
        },
        inputs={f"run {place}": run for place, run in runs.items()},
        version=VERSION,
        build=lambda out_dir: _build(out_dir, store, plan, runs, why_not),
    )


def read_ablation(ablation: Artifact) -> dict[str, Any]:
    """What its `ablation.json` holds."""
    content: dict[str, Any] = json.loads((ablation.path / FILE_NAME).read_text(encoding="utf-8"))
    return content


def ablation_rows(content: Content) -> list[dict[str, Json]]:
    """A row a variant, with its figures in short; what was not run says why in `note`."""
    return [
        {
            "group": group["name"],
            "variant": row["title"],
            **{key: _short(row, key) for key in ("precision", "recall", "f1")},
            "f1_interval": row["figures"] and shown_interval(row["figures"]["f1"]["interval"]),
            "published_f1": row["published"] and row["published"]["f1"],
            "training_minutes": row["cost"] and round(row["cost"]["training_minutes"], 1),
            "note": row["why_not"] or "",
        }
        for group in content["groups"]
        for row in group["rows"]
    ]


def render(content: Content) -> str:
    """The page of what `ablation.json` holds."""
    pictures = {}
    for group in content["groups"]:
        if group["name"] == "beta" and any(row["run"] for row in group["rows"]):
            pictures["oversampling"] = draw(group["rows"])
    return render_page("ablation.html.j2", content, pictures, folder=TEMPLATES)


def _short(row: Content, key: str) -> str | None:
    return row["figures"] and shown(row["figures"][key]["value"])


def _build(
    out_dir: Path,
    store: Store,
    plan: Plan,
    runs: Mapping[int, Artifact],
    why_not: Mapping[int, str],
) -> dict[str, Json]:
    content = _measured(store, plan, runs, why_not)
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    (out_dir / FILE_NAME).write_text(text, encoding="utf-8")
    (out_dir / PAGE_NAME).write_text(render(content), encoding="utf-8")
    logger.info("{}: {}", content["dataset"], content["verdict"])
    return {"verdict": content["verdict"]}


def _measured(
    store: Store, plan: Plan, runs: Mapping[int, Artifact], why_not: Mapping[int, str]
) -> dict[str, Json]:
    """All that `ablation.json` holds."""
    own = plan.setups[0]
    ran = {place: read_run(store, run) for place, run in runs.items()}
    (recipe, *rows) = describe(plan, ran, why_not)
    of_any = next(iter(ran.values())).report
    return {
        "dataset": own.dataset.name,
        **{fact: getattr(own.dataset, fact) for fact in DATASET_FACTS},
        "is_published": own.dataset.name in DATASETS,
        "recipe": own.recipe.name,
        "overrides": dict(own.recipe.overrides),
        "bounded_stages": [s.name for s in own.recipe.trained_stages if s.num_samples],
        "backbones": own.backbones,
        "verdict": verdict(recipe, rows),
        "own": recipe,
        "groups": [
            {
                "name": name,
                "title": group.title,
                "source": group.source,
                "rows": _with_recipe(recipe, [row for row in rows if row["group"] == name]),
            }
            for name, group in GROUPS.items()
            if name != RECIPE
        ],
        "seeds": spread_of_seeds(plan, ran),
        "versions": of_any["versions"],
        "machine": of_any["machine"],
    }


def _with_recipe(recipe: Content, rows: list[Json]) -> list[Json]:
    """The recipe itself first, where it is none of these variants and one of them was run."""
    needs_it = any(row["run"] for row in rows) and not any(row["is_recipe"] for row in rows)
    return [recipe, *rows] if needs_it else rows


def verdict(recipe: Content, rows: Sequence[Content]) -> str:
    """The page's first paragraph: the recipe itself, and which variants differ beyond chance."""
    variants = [row for row in rows if not row["is_recipe"]]
    num_run = sum(row["run"] is not None for row in variants)
    text = f"{num_run} of {len(variants)} variants were run."
    if recipe["run"] is None:
        return f"{text} The recipe itself was not: {recipe['why_not']}"
    own = recipe["figures"]["f1"]
    text += f" The recipe itself reaches F1 {shown(own['value'])}"
    text += f" ({shown_interval(own['interval'])})." if own["interval"] else "."
    compared = [row for row in rows if row["difference"] and row["difference"]["interval"]]
    lower = [_told(row) for row in compared if row["difference"]["interval"][1] < 0]
    higher = [_told(row) for row in compared if row["difference"]["interval"][0] > 0]
    for direction, found in (("lower", lower), ("higher", higher)):
        if found:
            text += f" The F1 is {direction} by more than chance may do with {', '.join(found)}."
    num_others = len(compared) - len(lower) - len(higher)
    if num_others:
        who = "One variant differs" if num_others == 1 else f"{num_others} variants differ"
        text += f" {who} from it on the same windows, by no more than chance may do."
    return text


def _told(row: Content) -> str:
    return f"{row['title']} ({row['difference']['difference']:+.3f})"
