"""The command line: `logllm ...`, its commands and its one way to say what is wrong."""

import sys
from collections.abc import Callable, Sequence

import typer
from rich.console import Console
from rich.markup import escape

from flows.cli.catalog import datasets_app
from flows.cli.detect import detect
from flows.cli.flow_commands import COMMANDS, command_of
from flows.cli.models import models_app
from flows.cli.query import query
from flows.cli.runs import compare, runs
from flows.cli.simulate import simulate
from flows.cli.verify import verify
from flows.terminal_text import legible_lines, take_any_text
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


def _add(*commands: str | Callable[..., None]) -> None:
    """In the order of the help: the name of a flow's command, or a command itself."""
    for each in commands:
        if isinstance(each, str):
            app.command(each, help=COMMANDS[each].help)(command_of(COMMANDS[each]))
        else:
            app.command()(each)


_add("prepare", "train", "evaluate", "retrain", detect, verify, runs, compare)
_add("compare-detectors", "ablate", simulate, query)


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
