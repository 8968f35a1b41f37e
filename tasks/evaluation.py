"""Tasks that measure and report."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from logllm_core.daily.champion import drift
from logllm_core.daily.champion.decisions import Champion, Decision
from logllm_core.evaluation import contest, decision_list, report, seed_choice
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.pages import figures_as_text, markdown
from logllm_core.store import runs
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import Recipe

DRIFT_EXCEEDED = "logllm.drift.exceeded"


@task(task_run_name="choose-seed", cache_policy=NO_CACHE)
def choose_seed(predictions: Mapping[int, Artifact]) -> seed_choice.Kept:
    return seed_choice.choose_seed(predictions)


@task(task_run_name="build-report-{dataset.name}", cache_policy=NO_CACHE)
def build_report(
    store: Store, dataset: Dataset, recipe: Recipe, backbones: str, run: report.Run
) -> Artifact:
    return report.build_report(store, dataset, recipe=recipe, backbones=backbones, run=run)


@task(task_run_name="publish-report-{built.dataset}", cache_policy=NO_CACHE)
def publish_report(built: Artifact) -> None:
    """The test figures and the alert types as Prefect tables, the report as Prefect markdown."""
    content = runs.read_report(built)
    key = _key(built.dataset)
    create_table_artifact(
        key=f"metrics-{key}",
        table=figures_as_text.figure_rows(content),
        description=f"Test split of {built.dataset}",
    )
    if alerts := markdown.alert_rows(content):
        create_table_artifact(
            key=f"alerts-{key}",
            table=alerts,
            description=f"Alert types in the test split of {built.dataset}, and how many are found",
        )
    create_markdown_artifact(
        key=f"report-{key}",
        markdown=markdown.as_markdown(content, built.path / "report.html"),
        description=markdown.escape(content["verdict"]),
    )


@task(task_run_name="hold-contest-{windows.dataset}", cache_policy=NO_CACHE)
def hold_contest(
    store: Store,
    windows: Artifact,
    candidate: Artifact,
    champion: Artifact,
    line: Sequence[Decision],
    report: Artifact,
) -> contest.Contest:
    return contest.hold_contest(store, windows, candidate, champion, line, report=report)


@task(task_run_name="publish-decision-{dataset}", cache_policy=NO_CACHE)
def publish_decision(dataset: str, held: contest.Contest, decision: Decision) -> None:
    """What a retraining came to, as Prefect markdown."""
    create_markdown_artifact(
        key=f"retrain-{_key(dataset)}",
        markdown=decision_list.decision_markdown(dataset, held, decision),
        description=markdown.escape(decision.reason),
    )


@task(task_run_name="measure-drift-{dataset}", cache_policy=NO_CACHE)
def measure_drift(
    store: Store, dataset: str, champion: Champion, since: datetime, limits: drift.DriftLimits
) -> drift.Drift | None:
    """Of the windows of new logs that the champion judged from a moment on."""
    new = drift.judged_since(store, dataset, champion, since)
    return drift.drift_of(store, dataset, champion, new, limits)


@task(task_run_name="measure-drift-{windows.dataset}", cache_policy=NO_CACHE)
def measure_drift_of_newest(
    store: Store,
    champion: Champion,
    messages: Artifact,
    windows: Artifact,
    predictions: Artifact,
    limits: drift.DriftLimits,
) -> drift.Drift | None:
    """Of the newest windows of the data set itself, as the champion judged them."""
    new = drift.newest_windows(
        store, champion, messages=messages, windows=windows, predictions=predictions
    )
    return drift.drift_of(store, windows.dataset, champion, new, limits)


@task(task_run_name="publish-drift-{measured.dataset}", cache_policy=NO_CACHE)
def publish_drift(measured: drift.Drift, *, is_told: bool = True) -> None:
    """Drift as Prefect markdown; beyond a limit also as an event, to which deployments answer.

    Args:
        is_told: whether to send that event.
    """
    create_markdown_artifact(
        key=f"drift-{_key(measured.dataset)}",
        markdown=decision_list.drift_markdown(measured),
        description=markdown.escape(measured.sentence),
    )
    if measured.is_exceeded and is_told:
        emit_event(
            DRIFT_EXCEEDED,
            resource={
                "prefect.resource.id": f"logllm.dataset.{measured.dataset}",
                "prefect.resource.name": measured.dataset,
            },
            payload={"sentence": measured.sentence, "run": measured.run},
        )


def _key(dataset: str) -> str:
    """A data set's name as Prefect takes it in an artifact's key."""
    return dataset.replace("_", "-")
