"""What was decided about a data set's models, for people: a list, and markdown for a night."""

from dataclasses import dataclass

from logllm_core.daily.champion.decisions import Decision, read_decisions
from logllm_core.daily.champion.drift import NUM_BINS, Drift, Measure
from logllm_core.errors import LogLLMError
from logllm_core.evaluation.champion_contest import Contest
from logllm_core.pages.figures_as_text import LABELS, shown, shown_interval
from logllm_core.pages.markdown import escape, table
from logllm_core.store.intact_files import is_whole
from logllm_core.store.store import Store

NUM_BLOCKS = 20  # of the longest bar of a histogram
BLOCK = "\N{FULL BLOCK}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedModel:
    """What a list of models tells about one decision."""

    dataset: str
    run: str
    trained: str
    decided: str  # ISO 8601, UTC
    is_champion: bool
    is_promoted: bool
    reason: str
    windows: str
    recipe: str
    backbones: str
    is_reported: bool  # whether its run's report is still there
    f1: float | None  # both on the run's own test split
    pr_auc: float | None
    is_there: bool  # whether its model can still be promoted


def list_models(store: Store, dataset: str | None = None) -> list[ListedModel]:
    """All decisions, or those about one data set, the latest of each first.

    Raises:
        LogLLMError: there is no model of that data set.
    """
    folders = (store.data_dir / "models").glob("[!.]*/")
    names = sorted(folder.name for folder in folders)
    models = [model for name in names if dataset in (None, name) for model in _listed(store, name)]
    if dataset is not None and not models:
        raise LogLLMError(
            f'There is no model of "{dataset}" in {store.data_dir}. Train one: logllm train NAME'
        )
    return models


def decision_markdown(dataset: str, contest: Contest, decision: Decision) -> str:
    """One retraining: what was decided, and both models' figures."""
    outcome = "is promoted" if decision.is_promoted else "is turned down"
    rows = [
        [
            LABELS[figure.name],
            shown(figure.candidate),
            shown(figure.champion),
            "" if figure.difference is None else f"{figure.difference:+.3f}",
            shown_interval(figure.interval),
        ]
        for figure in contest.figures
    ]
    counts = (
        f"{contest.num_windows:,} new windows, {contest.num_anomalous:,} of them anomalous; "
        f"{contest.num_left_out:,} test windows left out that the champion may know."
    )
    lines = [
        f"# Retraining {escape(dataset)}: candidate {decision.run} {outcome}",
        "",
        escape(decision.reason),
        "",
        *table(["figure", "candidate", "champion", "difference", "95 %"], rows),
        "",
        counts,
        "",
        f"To decide otherwise: `logllm models promote {decision.run}`; "
        f"`logllm models {dataset}` lists all.",
    ]
    return "\n".join(lines) + "\n"


def drift_markdown(drift: Drift) -> str:
    """The measures, and how the scores of both periods are spread."""
    bars = zip(_bars(drift.reference_counts), _bars(drift.new_counts), strict=True)
    spread = [
        f"{bin_ / NUM_BINS:.1f}-{(bin_ + 1) / NUM_BINS:.1f}  {before:<{NUM_BLOCKS + 8}}{after}"
        for bin_, (before, after) in enumerate(bars)
    ]
    columns = ["measure", "training period", "new", "change", "chance", "limit", "exceeded"]
    lines = [
        f"# Drift of {escape(drift.dataset)}",
        "",
        escape(drift.sentence),
        "",
        *table(columns, map(_row, drift.measures)),
        "",
        f"{drift.num_windows:,} new windows ({drift.num_lines:,} lines) against "
        f"{drift.num_reference_windows:,} of the training period, both judged by the model of run "
        f"{drift.run}. A measure is exceeded where its change, less what chance may make, is above "
        "the limit.",
        "",
        "```",
        f"{'score':<9}{'training period':<{NUM_BLOCKS + 8}}new",
        *(line.rstrip() for line in spread),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _listed(store: Store, dataset: str) -> list[ListedModel]:
    decisions = read_decisions(store, dataset)
    models = []
    for made in reversed(decisions.decisions):
        run = store.newest("runs", dataset, made.run)
        figures = run.results["figures"] if run else {}
        models.append(
            ListedModel(
                dataset=dataset,
                run=made.run,
                trained=made.trained,
                decided=made.decided,
                is_champion=made is decisions.champion,
                is_promoted=made.is_promoted,
                reason=made.reason,
                windows=made.windows,
                recipe=made.recipe.name,
                backbones=made.backbones,
                is_reported=run is not None,
                f1=figures["at_decision"]["f1"] if figures else None,
                pr_auc=figures["pr_auc"] if figures else None,
                is_there=is_whole(store.data_dir / "models" / dataset / made.trained),
            )
        )
    return models


def _row(measure: Measure) -> list[str]:
    figures = (measure.reference, measure.new, measure.change, measure.chance, measure.limit)
    return [
        measure.name,
        *("-" if value is None else shown(value) for value in figures),
        "yes" if measure.is_exceeded else "no",
    ]


def _bars(counts: tuple[int, ...]) -> list[str]:
    """Bars whose longest has NUM_BLOCKS blocks; what is not empty has one at least."""
    longest = max(counts)
    return [
        f"{BLOCK * max(count * NUM_BLOCKS // longest, 1)} {count}" if count else "0"
        for count in counts
    ]
