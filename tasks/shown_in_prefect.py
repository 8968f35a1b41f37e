"""What Prefect shows of a run: tables, markdown, and the event to which deployments answer.

Imports of what is shown wait until there is something to show: preparing a log needs none of it.
"""

from typing import TYPE_CHECKING

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from logllm_core.pages.markdown import escape
from logllm_core.store.store import Artifact

if TYPE_CHECKING:
    from logllm_core.daily.champion.decisions import Decision
    from logllm_core.daily.champion.drift import Drift
    from logllm_core.evaluation.champion_contest import Contest

DRIFT_EXCEEDED = "logllm.drift.exceeded"


@task(task_run_name="publish-report-{built.dataset}", cache_policy=NO_CACHE)
def publish_report(built: Artifact) -> None:
    """The test figures and the alert types as Prefect tables, and in short the report."""
    from logllm_core.pages import figures_as_text, markdown
    from logllm_core.results.json_files import read_report

    report = read_report(built)
    key = _key(built.dataset)
    create_table_artifact(
        key=f"metrics-{key}",
        table=figures_as_text.figure_rows(report.detectors),
        description=f"Test split of {built.dataset}",
    )
    if alerts := markdown.alert_rows(report.alerts):
        create_table_artifact(
            key=f"alerts-{key}",
            table=alerts,
            description=f"Alert types in the test split of {built.dataset}, and how many are found",
        )
    create_markdown_artifact(
        key=f"report-{key}",
        markdown=markdown.as_markdown(report),
        description=escape(report.verdict),
    )


@task(task_run_name="publish-decision-{dataset}", cache_policy=NO_CACHE)
def publish_decision(dataset: str, held: "Contest", decision: "Decision") -> None:
    """What a retraining came to, as Prefect markdown."""
    from logllm_core.evaluation.decision_list import decision_markdown

    create_markdown_artifact(
        key=f"retrain-{_key(dataset)}",
        markdown=decision_markdown(dataset, held, decision),
        description=escape(decision.reason),
    )


@task(task_run_name="publish-drift-{measured.dataset}", cache_policy=NO_CACHE)
def publish_drift(measured: "Drift", *, is_told: bool = True) -> None:
    """Drift as Prefect markdown; beyond a limit also as an event, to which deployments answer.

    Args:
        is_told: whether to send that event.
    """
    from logllm_core.evaluation.decision_list import drift_markdown

    create_markdown_artifact(
        key=f"drift-{_key(measured.dataset)}",
        markdown=drift_markdown(measured),
        description=escape(measured.sentence),
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


@task(task_run_name="publish-comparison-{built.dataset}", cache_policy=NO_CACHE)
def publish_comparison(built: Artifact) -> None:
    """The figures and costs of all detectors as a Prefect table."""
    from logllm_core.paper.experiments.comparison import comparison_rows, read_comparison

    comparison = read_comparison(built)
    rows = [row | {"note": escape(str(row["note"]))} for row in comparison_rows(comparison)]
    create_table_artifact(
        key=f"comparison-{_key(built.dataset)}",
        table=rows,
        description=escape(comparison.verdict),
    )


@task(task_run_name="publish-ablation-{built.dataset}", cache_policy=NO_CACHE)
def publish_ablation(built: Artifact) -> None:
    """The figures of all variants as a Prefect table."""
    from logllm_core.paper.experiments.ablation import ablation_rows, read_ablation

    ablation = read_ablation(built)
    rows = [row | {"note": escape(str(row["note"]))} for row in ablation_rows(ablation)]
    create_table_artifact(
        key=f"ablation-{_key(built.dataset)}",
        table=rows,
        description=escape(ablation.verdict),
    )


def _key(dataset: str) -> str:
    """A data set's name as Prefect takes it in an artifact's key."""
    return dataset.replace("_", "-")
