"""The command line: `logllm ...`. Every command starts the flow that a deployment runs."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.cli.catalog import datasets_app
from flows.cli.detect import detect
from flows.cli.experiments import ablate, compare_detectors
from flows.cli.models import models_app
from flows.cli.options import (
    AsJson,
    BackboneName,
    CheckpointMinutes,
    DataDir,
    Keep,
    KeepSeed,
    MaskingName,
    Mirror,
    Name,
    Overrides,
    Processes,
    Quantization,
    RecipeName,
    Remote,
    Runner,
    Seed,
    Seeds,
    Shards,
    Start,
)
from flows.cli.query import query
from flows.cli.runs import compare, print_report, runs
from flows.cli.verify import verify
from flows.data_settings import DATA_DIR
from flows.server.prefect_environment import set_up_prefect
from flows.showing import legible_lines, plain, print_json, read_changes, take_any_text
from logllm_core.errors import LogLLMError

# How Prefect says that its server is not there, and what is to be done.
UNREACHABLE = {
    "Failed to reach API": "Start the server that PREFECT_API_URL names, or unset it: without one, "
    "flows run on their own.",
    "Timed out while attempting to connect to ephemeral": "Run again once this machine is less "
    "busy, or raise PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS. If it stays so, export "
    "PREFECT_HOME, the name of an empty folder: the database that is there may be damaged.",
}

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
app.add_typer(datasets_app, name="datasets")
app.add_typer(models_app, name="models")


@app.command()
def prepare(
    name: Name,
    data_dir: DataDir = DATA_DIR,
    mirror: Mirror = None,
    remote: Remote = None,
    recipe: RecipeName = "quick",
    masking: MaskingName = None,
    changes: Overrides = None,
    runner: Runner = "threads",
    num_shards: Shards = None,
    as_json: AsJson = False,
) -> None:
    """Turn a raw log into labelled windows, split into training, validation and test."""
    given = locals() | {"overrides": read_changes(changes or [])}
    set_up_prefect(data_dir)
    from flows.display import shown_progress
    from flows.prepare import prepare_logs
    from flows.settings import RunSettings

    options = {key: given[key] for key in RunSettings.model_fields}
    settings = RunSettings.parse(options, origin="The command line")
    with shown_progress():
        prepared = prepare_logs(name, settings)
    splits = prepared.windows.results["splits"]
    if as_json:
        print_json({"windows": str(prepared.windows.path), "splits": splits})
        return
    table = Table("split", "windows", "anomalous", "lines", box=box.SIMPLE)
    for split, entry in splits.items():
        counts = (entry["num_windows"], entry["num_anomalous"], entry["num_lines"])
        shown = ("not labelled" if count is None else f"{count:,}" for count in counts)
        table.add_row(split, *shown)
    Console().print(table)
    Console().print(f"Windows: {plain(prepared.windows.path)}", soft_wrap=True)


def _reporting(flow: str) -> Callable[..., None]:
    """The command of a flow that ends in a report; `flow` is its module and its name."""

    def command(
        name: Name,
        data_dir: DataDir = DATA_DIR,
        mirror: Mirror = None,
        remote: Remote = None,
        recipe: RecipeName = "quick",
        masking: MaskingName = None,
        backbones: BackboneName = "small",
        quantization: Quantization = None,
        seed: Seed = None,
        num_seeds: Seeds = 1,
        keep: KeepSeed = "first",
        changes: Overrides = None,
        checkpoint_minutes: CheckpointMinutes = 10.0,
        num_processes: Processes = 1,
        runner: Runner = "threads",
        num_shards: Shards = None,
        as_json: AsJson = False,
    ) -> None:
        given = locals() | {"overrides": read_changes(changes or [])}
        set_up_prefect(data_dir)
        module, _, flow_name = flow.rpartition(".")
        run = getattr(import_module(module), flow_name)
        from flows.display import shown_progress
        from flows.settings import TrainSettings

        options = {key: given[key] for key in TrainSettings.model_fields}
        settings = TrainSettings.parse(options, origin="The command line")
        with shown_progress():
            report = run(name, settings)
        print_report(report, as_json=as_json)

    return command


app.command("train", help="Prepare, train all stages, evaluate. What is done already is reused.")(
    _reporting("flows.train.train_logllm")
)
app.command("evaluate", help="Measure the model that these settings trained, without training.")(
    _reporting("flows.evaluate.evaluate_logllm")
)


@app.command()
def retrain(
    name: Name,
    start: Start = "champion",
    data_dir: DataDir = DATA_DIR,
    mirror: Mirror = None,
    remote: Remote = None,
    changes: Overrides = None,
    keep_models: Keep = 5,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    num_processes: Processes = 1,
    runner: Runner = "threads",
    num_shards: Shards = None,
    as_json: AsJson = False,
) -> None:
    """Train a candidate on what is new in a log, and promote it unless it is worse.

    Candidate and champion judge the same newest windows. Nothing new, nothing done.
    """
    given = locals() | {"overrides": read_changes(changes or [])}
    set_up_prefect(data_dir)
    from flows.display import shown_progress
    from flows.retrain import retrain_logllm
    from flows.settings import RetrainSettings

    options = {key: given[key] for key in RetrainSettings.model_fields if key in given}
    settings = RetrainSettings.parse(options, origin="The command line")
    with shown_progress():
        retrained = retrain_logllm(name, settings)
    if as_json:
        print_json(asdict(retrained))
        return
    Console().print(plain(retrained.reason), soft_wrap=True, highlight=False)


app.command()(detect)
app.command()(verify)
app.command()(runs)
app.command()(compare)
app.command()(compare_detectors)
app.command()(ablate)


@app.command()
def simulate(
    out: Annotated[
        Path | None, typer.Argument(help="The file to write. Default: DATA_DIR/simulated.log.")
    ] = None,
    num_lines: Annotated[int, typer.Option(min=1_000)] = 20_000,
    shape: Annotated[
        str, typer.Option(help="bgl, thunderbird (Liberty's and Spirit's too) or hdfs.")
    ] = "bgl",
    seed: Annotated[int, typer.Option()] = 0,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write a seeded log in the shape of a published one, with known truth.

    Sessions (hdfs) are labelled in a CSV file beside the log.
    """
    from flows.display import shown_progress
    from logllm_core.logs.simulator.writing import write_log

    path = out or data_dir / "simulated.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with shown_progress():
            truth = write_log(path, num_lines=num_lines, seed=seed, shape=cast(Any, shape))
    except OSError as fault:
        raise LogLLMError(f"Cannot write {path}: {fault.strerror}. Choose another file.") from None
    if as_json:
        print_json({"path": str(path), **truth})
        return
    if "num_sessions" in truth:
        held = "{num_anomalous_sessions:,} of {num_sessions:,} sessions anomalous"
    else:
        held = "{num_alert_lines:,} of them alerts, {num_unparsable_lines:,} without content"
    Console().print(
        f"{truth['num_lines']:,} lines, {held.format(**truth)}: {plain(path)}",
        soft_wrap=True,
    )


app.command()(query)


def main() -> None:
    """Run a command; a user's mistake ends in one message and exit status 1."""
    take_any_text(sys.stdout)
    try:
        _check_arguments(sys.argv[1:])
        app(standalone_mode=True)
    except LogLLMError as fault:
        _fail(str(fault))
    except RuntimeError as fault:
        advice = next((UNREACHABLE[words] for words in UNREACHABLE if words in str(fault)), None)
        if advice is None:
            raise
        _fail(f"{fault} {advice}")


def _check_arguments(arguments: Sequence[str]) -> None:
    """Names and settings are sent to Prefect, and written to manifests and tables, in UTF-8."""
    for argument in arguments:
        if not argument.isascii() and argument != argument.encode(errors="replace").decode():
            raise LogLLMError(f"{argument!r} is not UTF-8. Rename what it names.")


def _fail(message: str, status: int = 1) -> None:
    Console(stderr=True).print(
        f"[bold red]error:[/bold red] {escape(legible_lines(message))}",
        soft_wrap=True,
        highlight=False,
    )
    sys.exit(status)
