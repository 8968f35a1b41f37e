"""The command line of champions: `logllm models` and `logllm models promote`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from flows.cli.options import AsJson, DataDir, OptionalName, RunName
from flows.terminal_text import NUM_DIGITS, plain, print_json
from logllm_core.store.data_folder import DATA_DIR

if TYPE_CHECKING:
    from logllm_core.evaluation.decision_list import ListedModel

LIST = "list"
HELP = (
    "List what was decided about each data set's models: which one judges new logs (the "
    "champion), and what was promoted or turned down before.\n\n"
    "[bold]logllm models bgl[/bold]\n\n"
    "[bold]logllm models promote RUN[/bold] makes the model of a run the champion: a new one, or "
    "an earlier one again."
)
Reason = Annotated[str, typer.Option("--reason", help="Kept with the decision.")]


class _NameOrCommand(TyperGroup):
    """`logllm models NAME` is short for `logllm models list NAME`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        given = args if args[0] in self.commands else [LIST, *args]
        return super().resolve_command(ctx, given)


models_app = typer.Typer(rich_markup_mode="rich", cls=_NameOrCommand)


@models_app.callback(invoke_without_command=True, help=HELP)
def models(context: typer.Context, data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_decisions(data_dir=data_dir, as_json=as_json)
        return
    given = {"data_dir": data_dir, "as_json": as_json}  # meant for the command that follows, too
    context.default_map = {context.invoked_subcommand: given}


@models_app.command(LIST)
def list_decisions(
    name: OptionalName = None, data_dir: DataDir = DATA_DIR, as_json: AsJson = False
) -> None:
    """List the models of all data sets, or of one; the last decision of each comes first."""
    from logllm_core.evaluation.decision_list import list_models
    from logllm_core.store.store import Store

    listed = list_models(Store(data_dir=data_dir), name)
    if as_json:
        print_json([asdict(model) for model in listed])
        return
    output = Console()
    if not listed:
        output.print(
            f"There is no champion in {plain(data_dir)} yet. Train a model: logllm train demo",
            soft_wrap=True,
        )
        return
    for model in listed:
        output.print(_in_two_lines(model), soft_wrap=True, highlight=False)


@models_app.command()
def promote(
    run: RunName,
    reason: Reason = "Promoted by hand.",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Have the model of a run judge new logs from now on; an earlier one, to go back to it."""
    from logllm_core.daily.champion import decisions
    from logllm_core.store.runs import find_run
    from logllm_core.store.store import Store

    store = Store(data_dir=data_dir)
    report = find_run(store, run)
    before = decisions.find_champion(store, report.dataset)
    made = decisions.promote(store, report, reason=reason)
    if as_json:
        print_json({"dataset": report.dataset, **made.model_dump(mode="json")})
        return
    instead = f" instead of {before.run}" if before else ""
    Console().print(
        f"{plain(report.dataset)}: run {made.run} is the champion now{instead}.", soft_wrap=True
    )


def _in_two_lines(model: "ListedModel") -> str:
    """A decision in two lines: a reason is too long for a column."""
    from logllm_core.pages.figures_as_text import shown

    figures = f"F1 {shown(model.f1)}  PR-AUC {shown(model.pr_auc)}  " if model.is_reported else ""
    made = model.decided[:16].replace("T", " ")
    head = (
        f"{model.dataset}  {model.run[:NUM_DIGITS]}  {made}  {_standing(model)}  {figures}"
        f"windows {model.windows[:NUM_DIGITS]}"
    )
    weight = "bold" if model.is_champion else "not bold"
    return f"[{weight}]{plain(head)}[/{weight}]\n    {plain(model.reason)}"


def _standing(model: "ListedModel") -> str:
    outcome = "promoted" if model.is_promoted else "turned down"
    standing = "champion" if model.is_champion else outcome
    return standing if model.is_there else f"{standing}, removed"
