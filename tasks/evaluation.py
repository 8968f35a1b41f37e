"""Tasks that measure and report."""

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from logllm_core.evaluation import markdown, report, runs, summary
from logllm_core.logs.catalog import Dataset
from logllm_core.store import Artifact, Store
from logllm_core.training.recipes import Recipe


@task(task_run_name="build-report-{dataset.name}", cache_policy=NO_CACHE)
def build_report(
    store: Store, dataset: Dataset, recipe: Recipe, backbones: str, run: report.Run
) -> Artifact:
    return report.build_report(store, dataset, recipe=recipe, backbones=backbones, run=run)


@task(task_run_name="publish-report-{built.dataset}", cache_policy=NO_CACHE)
def publish_report(built: Artifact) -> None:
    """The test figures and the alert types as Prefect tables, the report as Prefect markdown."""
    content = runs.read_report(built)
    key = built.dataset.replace("_", "-")
    create_table_artifact(
        key=f"metrics-{key}",
        table=summary.figure_rows(content),
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
