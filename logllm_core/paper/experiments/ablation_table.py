"""The ablations of LogLLM: a table of variants, each one difference from the recipe.

Most are the paper's: its Tables IV to VI and Figure 4 (sections V-F to V-J). Window lengths and
seeds are not; others found that both change who is ahead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import CountWindows, Dataset
from logllm_core.paper.experiments import paper_tables as published
from logllm_core.paper.experiments.paper_tables import Rows
from logllm_core.store.store import Json
from logllm_core.training.recipes import Recipe

BETAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # Figure 4
WINDOW_LENGTHS = (20, 50, 100, 200)
DECODERS = {"llama3.2-1b": "L.-1B", "llama3-8b": "L.-8B"}  # Table V, by our backbones


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Variants that stand in one table."""

    title: str
    source: str | None  # where the paper has it
    published: Mapping[str, Rows] = field(default_factory=dict)  # by data set, as printed


NOT_ASKED = "not asked for (--only)"
RECIPE = "recipe"  # the group, and the variant, that changes nothing; it is always run
GROUPS: Mapping[str, Group] = {
    RECIPE: Group(title="The recipe itself", source=None),
    "preprocessing": Group(
        title="Preprocessing", source="Table IV", published=published.PREPROCESSING
    ),
    "embedder": Group(
        title="Embedder and size of the decoder", source="Table V", published=published.EMBEDDER
    ),
    "stages": Group(title="Training stages", source="Table VI", published=published.STAGES),
    "beta": Group(title="Oversampling", source="Figure 4"),
    "window-length": Group(title="Window length", source=None),
    "seeds": Group(title="Seeds", source=None),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A row of the table: how it differs from the recipe."""

    name: str  # as --only takes it
    group: str
    title: str
    printed: str | None = None  # the paper's row for it
    changes: Mapping[str, Json] = field(default_factory=dict)  # settings of the recipe
    without: tuple[str, ...] = ()  # stages: "2" is also the reference recipe's 2-1 and 2-2
    backbones: str | None = None  # None: those of the recipe itself
    window_length: int | None = None  # lines; None: as the data set has it


def _printed(name: str, group: str, printed: str, **more: Json) -> Variant:
    return Variant(name=name, group=group, title=printed, printed=printed, **more)


BY_ENCODER: Mapping[str, Json] = {"embedder": "encoder"}
VARIANTS: Sequence[Variant] = (
    Variant(name=RECIPE, group=RECIPE, title="the recipe itself"),
    _printed("raw", "preprocessing", "Raw", changes={"masking": "none", **BY_ENCODER}),
    _printed(
        *("template-id", "preprocessing", "Template ID"),
        changes={"masking": "drain-id", "embedder": "message-id"},
    ),
    _printed(
        *("template", "preprocessing", "Template"),
        changes={"masking": "drain-template", **BY_ENCODER},
    ),
    _printed("regex", "preprocessing", "RE (LogLLM)", changes={"masking": "regex", **BY_ENCODER}),
    _printed("without-1", "stages", "W/O Stage 1", without=("1",)),
    _printed("without-2", "stages", "W/O Stage 2", without=("2",)),
    _printed("without-1-2", "stages", "W/O Stage 1&2", without=("1", "2")),
    _printed("without-3", "stages", "W/O Stage 3", without=("3",)),
    _printed("all-stages", "stages", "LogLLM"),
    *(
        Variant(name=f"beta-{beta:g}", group="beta", title=f"β = {beta:g}", changes={"beta": beta})
        for beta in BETAS
    ),
    *(
        Variant(
            name=f"length-{length}",
            group="window-length",
            title=f"{length} lines",
            window_length=length,
        )
        for length in WINDOW_LENGTHS
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What a run is made with."""

    dataset: Dataset
    recipe: Recipe
    backbones: str  # as a person names them

    def is_like(self, other: "Setup") -> bool:
        """Whether both give the same run, however their recipes came about."""
        return (
            self.dataset.windows == other.dataset.windows
            and _settings(self.recipe) == _settings(other.recipe)
            and self.backbones == other.backbones
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A variant of one data set and recipe: what it is run with, or why it is not run."""

    variant: Variant
    setup: int | None  # its number in the plan; 0 where the variant is the recipe itself
    why_not: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be run, each setup once, and which rows of the table it is for."""

    setups: Sequence[Setup]  # the recipe itself first
    trials: Sequence[Trial]  # in the order of the groups

    def name(self, setup: int) -> str:
        """The first variant with that setup, for log lines."""
        return next(trial.variant.name for trial in self.trials if trial.setup == setup)


def plan(
    unchanged: Setup, *, sizes: Sequence[str], num_seeds: int, only: Sequence[str] = ()
) -> Plan:
    """A trial a variant; those of the same setup share it.

    Args:
        unchanged: the recipe itself.
        sizes: further backbones for Table V.
        num_seeds: so many, from the recipe's own upwards.
        only: groups and variants by name; empty: all of them.

    Raises:
        LogLLMError: a name of `only` is neither a group's nor a variant's.
    """
    table = _table(unchanged, sizes, num_seeds)
    known = [*GROUPS, *(variant.name for variant in table)]
    if unknown := [name for name in only if name not in known]:
        raise LogLLMError(
            f"There is no variant and no group {', '.join(unknown)}. Groups: {', '.join(GROUPS)}. "
            f"Variants: {', '.join(known[len(GROUPS) :])}."
        )
    setups, trials = [unchanged], []
    for variant in table:
        setup = _setup(variant, unchanged, [unchanged.backbones, *sizes])
        is_asked = not only or variant.name in only or variant.group in only
        if isinstance(setup, Setup) and not is_asked and not setup.is_like(unchanged):
            setup = NOT_ASKED
        if isinstance(setup, str):
            trials.append(Trial(variant=variant, setup=None, why_not=setup))
            continue
        if not any(setup.is_like(known) for known in setups):
            setups.append(setup)
        number = next(number for number, known in enumerate(setups) if setup.is_like(known))
        trials.append(Trial(variant=variant, setup=number))
    return Plan(setups=setups, trials=trials)


def _table(unchanged: Setup, sizes: Sequence[str], num_seeds: int) -> list[Variant]:
    """The whole table, with the backbones and the seeds that this one run wants."""
    is_published = unchanged.dataset.name in published.EMBEDDER
    pairs = dict.fromkeys([unchanged.backbones, *sizes, *(DECODERS if is_published else ())])
    sizes_and_texts = [
        Variant(
            name=f"{kind}:{name}",
            group="embedder",
            title=f"{name}, {text}",
            printed=prefix + DECODERS[name] if name in DECODERS else None,
            changes={"embedder": embedder},
            backbones=name,
        )
        for name in pairs
        for kind, embedder, text, prefix in (
            ("text", "none", "joined text", ""),
            ("embedder", "encoder", "with embedder", "Emb. & "),
        )
    ]
    first = unchanged.recipe.seed
    seeds = [
        Variant(name=f"seed-{seed}", group="seeds", title=f"seed {seed}", changes={"seed": seed})
        for seed in range(first, first + num_seeds)
    ]
    order = list(GROUPS)
    return sorted(
        [*VARIANTS, *sizes_and_texts, *seeds], key=lambda variant: order.index(variant.group)
    )


def _setup(variant: Variant, unchanged: Setup, asked: Sequence[str]) -> Setup | str:
    """What this one is run with, or why it is not run."""
    if variant.backbones and variant.backbones not in asked:
        return f"not asked for (--size {variant.backbones})"
    stages = {number: _stages(unchanged.recipe, number) for number in variant.without}
    if missing := [number for number, names in stages.items() if not names]:
        return f"not applicable, the recipe has no stage {' and '.join(missing)}"
    values = unchanged.recipe.model_dump()
    changes = {key: value for key, value in variant.changes.items() if values[key] != value}
    changes |= {f"stages.{name}.num_epochs": 0 for names in stages.values() for name in names}
    dataset = unchanged.dataset
    if variant.window_length:
        if not isinstance(dataset.windows, CountWindows):
            kind = "sessions" if dataset.windows.kind == "session" else "spans of time"
            return f"not applicable, the windows of {dataset.name} are {kind}"
        dataset = _with_length(dataset, dataset.windows, variant.window_length)
        if variant.window_length > unchanged.recipe.max_window_messages:
            changes["max_window_messages"] = variant.window_length  # none is to be cut
    try:
        recipe = unchanged.recipe.overridden(changes)
    except LogLLMError as fault:
        return str(fault)
    return Setup(dataset=dataset, recipe=recipe, backbones=variant.backbones or unchanged.backbones)


def _stages(recipe: Recipe, number: str) -> list[str]:
    """The stages of that number that the recipe trains."""
    names = [stage.name for stage in recipe.trained_stages]
    return [name for name in names if name.partition("-")[0] == number]


def _with_length(dataset: Dataset, windows: CountWindows, length: int) -> Dataset:
    """Windows of that length that overlap by the share that the data set's own do."""
    step = windows.step and -(-windows.step * length // windows.length)
    changed = CountWindows(kind="count", length=length, step=step)
    if changed == windows:
        return dataset
    title = f"{dataset.title} (windows of {length} lines)"  # tells its report from the others
    return dataset.model_copy(update={"windows": changed, "title": title})


def _settings(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"overrides": {}})
