"""The command line: `logllm ...`. Every command starts the flow that a deployment runs."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from logllm_core.errors import LogLLMError

if TYPE_CHECKING:
    from flows.settings import TrainSettings
    from logllm_core.store import Artifact

PREFECT_ENVIRONMENT = {
    # Its own lines repeat ours; errors reach the person as one message, not as a traceback.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    # As in pyproject.toml, which Prefect reads in this project's folder only.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}
UNREACHABLE = "Failed to reach API"

app = typer.Typer(
    name="logllm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find anomalous log windows with language models (arXiv 2411.08561).\n\n"
    "Start with [bold]logllm train demo[/bold]: it simulates a log, trains on it and writes a "
    "report.",
    rich_markup_mode="rich",
)

Name = Annotated[str, typer.Argument(help="A data set's name, or the TOML file that describes it.")]
DataDir = Annotated[Path, typer.Option("--data-dir", help="Where everything is kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Mirror = Annotated[
    Path | None,
    typer.Option("--mirror", help="Take archives from this folder, not from the network."),
]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="quick, paper, reference, or a TOML file of your own.")
]
BackboneName = Annotated[
    str,
    typer.Option(
        "--backbones", help="small, llama3.2-1b, llama3-8b (the paper's), or ENCODER,DECODER."
    ),
]
Quantization = Annotated[
    str | None, typer.Option("--quantization", help="nf4 or none. Default: the recipe's.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Default: the recipe's.")]

DATA_DIR = Path("data")


@app.command()
def datasets(data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """List the data sets."""
    from flows.settings import RunSettings
    from logllm_core.logs.catalog import list_datasets

    found = list_datasets(RunSettings(data_dir=data_dir).catalog_dirs)
    if as_json:
        _print_json([dataset.model_dump(mode="json") for dataset in found])
        return
    table = Table("name", "source", "windows", "title", box=box.SIMPLE)
    for dataset in found:
        table.add_row(
            dataset.name, dataset.source.kind, dataset.windows.kind, escape(dataset.title)
        )
    Console().print(table)


@app.command()
def prepare(
    name: Name,
    data_dir: DataDir = DATA_DIR,
    mirror: Mirror = None,
    recipe: RecipeName = "quick",
    as_json: AsJson = False,
) -> None:
    """Turn a raw log into labelled windows, split into training, validation and test."""
    _set_up_prefect()
    from flows.prepare import prepare_logs
    from flows.settings import RunSettings

    settings = RunSettings(data_dir=data_dir, mirror=mirror, recipe=recipe)
    from flows.display import shown_progress

    with shown_progress():
        prepared = prepare_logs(name, settings)
    splits = prepared.windows.results["splits"]
    if as_json:
        _print_json({"windows": str(prepared.windows.path), "splits": splits})
        return
    table = Table("split", "windows", "anomalous", "lines", box=box.SIMPLE)
    for split, entry in splits.items():
        counts = (entry["num_windows"], entry["num_anomalous"] or 0, entry["num_lines"])
        table.add_row(split, *(f"{count:,}" for count in counts))
    Console().print(table)
    Console().print(f"Windows: {prepared.windows.path}", soft_wrap=True)


@app.command()
def train(
    name: Name,
    data_dir: DataDir = DATA_DIR,
    mirror: Mirror = None,
    recipe: RecipeName = "quick",
    backbones: BackboneName = "small",
    quantization: Quantization = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Prepare, train all stages, evaluate. What is done already is reused."""
    _set_up_prefect()
    from flows.train import train_logllm

    settings = _train_settings(
        **{"data_dir": data_dir, "mirror": mirror, "recipe": recipe},
        **{"backbones": backbones, "quantization": quantization, "seed": seed},
    )
    from flows.display import shown_progress

    with shown_progress():
        report = train_logllm(name, settings)
    _print_report(report, as_json=as_json)


@app.command()
def evaluate(
    name: Name,
    data_dir: DataDir = DATA_DIR,
    mirror: Mirror = None,
    recipe: RecipeName = "quick",
    backbones: BackboneName = "small",
    quantization: Quantization = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Measure the model that these settings trained, without training."""
    _set_up_prefect()
    from flows.evaluate import evaluate_logllm

    settings = _train_settings(
        **{"data_dir": data_dir, "mirror": mirror, "recipe": recipe},
        **{"backbones": backbones, "quantization": quantization, "seed": seed},
    )
    from flows.display import shown_progress

    with shown_progress():
        report = evaluate_logllm(name, settings)
    _print_report(report, as_json=as_json)


@app.command()
def simulate(
    out: Annotated[
        Path | None, typer.Argument(help="The file to write. Default: DATA_DIR/simulated.log.")
    ] = None,
    num_lines: Annotated[int, typer.Option(min=1_000)] = 20_000,
    seed: Annotated[int, typer.Option()] = 0,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write a seeded log in the shape of BlueGene/L's, with known truth."""
    from logllm_core.logs.simulator import write_log

    path = out or data_dir / "simulated.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        from flows.display import shown_progress

        with shown_progress():
            truth = {"path": str(path), **write_log(path, num_lines=num_lines, seed=seed)}
    except OSError as fault:
        raise LogLLMError(f"Cannot write {path}: {fault.strerror}. Choose another file.") from None
    if as_json:
        _print_json(truth)
        return
    Console().print(
        f"{truth['num_lines']:,} lines, {truth['num_alert_lines']:,} of them alerts of "
        f"{len(truth['alert_types'])} types, {truth['num_unparsable_lines']:,} without content: "
        f"{path}",
        soft_wrap=True,
    )


@app.command()
def query(
    statement: Annotated[str, typer.Argument(help="SQL, as DuckDB speaks it.")],
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Ask the tables: NAME.messages, NAME.vocabulary, NAME.windows, NAME.predictions."""
    from logllm_core.logs import views
    from logllm_core.store import Store

    columns, rows = views.query(Store(data_dir=data_dir), statement)
    if as_json:
        _print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    table = Table(*map(_plain, columns), box=box.SIMPLE)
    for row in rows:
        table.add_row(*("" if value is None else _plain(value) for value in row))
    Console().print(table)


def main() -> None:
    """Run a command; a user's mistake ends in one message and exit status 1."""
    try:
        app(standalone_mode=True)
    except LogLLMError as fault:
        _fail(str(fault))
    except RuntimeError as fault:
        if not str(fault).startswith(UNREACHABLE):
            raise
        _fail(
            f"{fault} Start the server that PREFECT_API_URL names, or unset it: without one, flows "
            "run on their own."
        )


def _fail(message: str, status: int = 1) -> None:
    Console(stderr=True).print(
        f"[bold red]error:[/bold red] {escape(message)}", soft_wrap=True, highlight=False
    )
    sys.exit(status)


def _set_up_prefect() -> None:
    """Read when Prefect is imported, which is why the commands import their flow themselves."""
    for name, value in PREFECT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _train_settings(**options: object) -> "TrainSettings":
    from flows.settings import TrainSettings

    return TrainSettings.parse(options, origin="The command line")


def _print_report(report: "Artifact", *, as_json: bool) -> None:
    content: dict[str, Any] = json.loads((report.path / "report.json").read_text(encoding="utf-8"))
    figures = content["detectors"]["LogLLM"]
    page = report.path / "report.html"
    if as_json:
        _print_json({"dataset": report.dataset, "figures": figures, "report": str(page)})
        return
    table = Table("detector", box=box.SIMPLE)
    for column in ("precision", "recall", "F1", "PR-AUC"):
        table.add_column(column, justify="right")
    for name, found in content["detectors"].items():
        row = (found[key] for key in ("precision", "recall", "f1", "pr_auc"))
        cells = ("undefined" if value is None else f"{value:.3f}" for value in row)
        table.add_row(name, *cells, style="bold" if name == "LogLLM" else None)
    output = Console()
    output.print(table)
    output.print(escape(content["verdict"]), soft_wrap=True, highlight=False)
    output.print(f"Report: {escape(str(page))}", soft_wrap=True, highlight=False)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def _plain(value: object) -> str:
    """A cell as text; log text may hold markup and control characters."""
    text = "".join(
        mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in str(value)
    )
    return escape(text)
