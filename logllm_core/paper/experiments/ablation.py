"""What `ablation.json` holds, as a value; what it comes to, in words and as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logllm_core.pages.figures_as_text import Row, shown, shown_interval
from logllm_core.results import json_files
from logllm_core.results.data_card import Facts
from logllm_core.results.figures import Difference, Figure, OverSeeds
from logllm_core.results.report import AboutDataset
from logllm_core.results.training import Cost
from logllm_core.store.store import Artifact

FILE_NAME, PAGE_NAME = "ablation.json", "ablation.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantCost(Cost):
    """What a variant took."""

    training_minutes: float
    scoring_minutes: float
    num_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedVariant:
    """The paper's row of a variant; without figures, memory was not enough there."""

    precision: float | None
    recall: float | None
    f1: float | None
    gpu_memory_gb: float | None  # None where the paper does not tell the cost
    training_minutes: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationRow:
    """A variant: what it reached and cost, or why it was not run."""

    name: str
    group: str
    title: str
    beta: float | None
    is_recipe: bool
    changes: Facts
    published: PublishedVariant | None  # None where the paper has no such row for this data set
    run: str | None = None
    figures: Mapping[str, Figure] | None = None
    difference: Difference | None = None  # to the recipe's F1
    cost: VariantCost | None = None
    why_not: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationGroup:
    """Variants that stand in one table."""

    name: str
    title: str
    source: str | None  # where the paper has it
    rows: tuple[AblationRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation(AboutDataset):
    """All variants beside the recipe itself."""

    is_published: bool
    recipe: str
    overrides: Facts
    bounded_stages: tuple[str, ...]
    backbones: str
    verdict: str
    own: AblationRow  # the recipe itself
    groups: tuple[AblationGroup, ...]
    seeds: OverSeeds | None
    versions: Facts
    machine: Facts


def read_ablation(ablation: Artifact) -> Ablation:
    return json_files.read(Ablation, ablation.path / FILE_NAME)


def ablation_rows(ablation: Ablation) -> list[Row]:
    """A row a variant, with its figures in short; what was not run says why in `note`."""
    return [
        {
            "group": group.name,
            "variant": row.title,
            **{
                key: shown(row.figures[key].value) if row.figures else None
                for key in ("precision", "recall", "f1")
            },
            "f1_interval": shown_interval(row.figures["f1"].interval) if row.figures else None,
            "published_f1": row.published.f1 if row.published else None,
            "training_minutes": round(row.cost.training_minutes, 1) if row.cost else None,
            "note": row.why_not or "",
        }
        for group in ablation.groups
        for row in group.rows
    ]


def verdict(recipe: AblationRow, rows: Sequence[AblationRow]) -> str:
    """The page's first paragraph: the recipe itself, and which variants differ beyond chance."""
    variants = [row for row in rows if not row.is_recipe]
    num_run = sum(row.run is not None for row in variants)
    text = f"{num_run} of {len(variants)} variants were run."
    if recipe.figures is None:
        return f"{text} The recipe itself was not: {recipe.why_not}"
    f1 = recipe.figures["f1"]
    text += f" The recipe itself reaches F1 {shown(f1.value)}"
    text += f" ({shown_interval(f1.interval)})." if f1.interval else "."
    compared = [
        (f"{row.title} ({row.difference.difference:+.3f})", row.difference.interval)
        for row in rows
        if row.difference and row.difference.interval
    ]
    lower = [words for words, interval in compared if interval.high < 0]
    higher = [words for words, interval in compared if interval.low > 0]
    for direction, named in (("lower", lower), ("higher", higher)):
        if named:
            text += f" The F1 is {direction} by more than chance may do with {', '.join(named)}."
    num_others = len(compared) - len(lower) - len(higher)
    if num_others:
        who = "One variant differs" if num_others == 1 else f"{num_others} variants differ"
        text += f" {who} from it on the same windows, by no more than chance may do."
    return text
