"""The commands that run a flow: `logllm prepare`, `train` and their like, a row each.

Every one runs the flow that its deployment runs. What a person has to correct is told before
Prefect is there, which takes its seconds, as do the models' libraries.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from flows.cli.experiment_tables import print_ablation, print_comparison
from flows.cli.options import AsJson, Name
from flows.cli.runs import print_report
from flows.cli.settings_options import options_of, settings_of
from flows.data_settings import DataSettings
from flows.server.prefect_environment import set_up_prefect
from flows.settings import (
    AblateSettings,
    CompareSettings,
    RetrainSettings,
    RunSettings,
    TrainSettings,
)
from flows.terminal_text import plain, print_json

if TYPE_CHECKING:
    from flows.retrain import Retrained
    from logllm_core.pipeline import Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowCommand:
    """A flow as a command.

    Args:
        flow: its module and its name. Imported when it is wanted: Prefect reads the environment
            when it is imported.
        show: prints the flow's outcome.
        find: the outcome where all of it is there; then no flow is run.
    """

    flow: str
    settings: type[DataSettings]
    show: Callable[..., None]
    help: str
    find: Callable[[str, Any], object | None] = lambda *_: None


def command_of(row: FlowCommand) -> Callable[..., None]:
    """The row as typer takes it: a function, of whose signature it makes arguments and options."""

    def command(**given: Any) -> None:
        from flows.display import shown_progress

        name, as_json = given.pop("name"), given.pop("as_json")
        settings = settings_of(row.settings, given)
        settings.check(name)
        with shown_progress():
            outcome = row.find(name, settings) or _run(row.flow, name, settings)
        row.show(outcome, as_json=as_json)

    name = Parameter("name", Parameter.KEYWORD_ONLY, annotation=Name)
    as_json = Parameter("as_json", Parameter.KEYWORD_ONLY, annotation=AsJson, default=False)
    signature = Signature([name, *options_of(row.settings), as_json])
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command


def _run(flow: str, name: str, settings: DataSettings) -> object:
    set_up_prefect(settings.data_dir)
    module, _, flow_name = flow.rpartition(".")
    run: Callable[[str, DataSettings], object] = getattr(import_module(module), flow_name)
    return run(name, settings)


def _find_prepared(name: str, settings: RunSettings) -> "Prepared | None":
    from flows.cli.prepared_log import find_prepared

    return find_prepared(name, settings)


def _print_prepared(prepared: "Prepared", *, as_json: bool) -> None:
    """The windows of each split, and where they lie."""
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


def _print_retrained(retrained: "Retrained", *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(retrained))
    else:
        Console().print(plain(retrained.reason), soft_wrap=True, highlight=False)


COMMANDS: Mapping[str, FlowCommand] = {
    "prepare": FlowCommand(
        flow="flows.prepare.prepare_logs",
        settings=RunSettings,
        show=_print_prepared,
        help="Turn a raw log into labelled windows, split into training, validation and test.",
        find=_find_prepared,
    ),
    "train": FlowCommand(
        flow="flows.train.train_logllm",
        settings=TrainSettings,
        show=print_report,
        help="Prepare, train all stages, evaluate. What is done already is reused.",
    ),
    "evaluate": FlowCommand(
        flow="flows.evaluate.evaluate_logllm",
        settings=TrainSettings,
        show=print_report,
        help="Measure the model that these settings trained, without training.",
    ),
    "retrain": FlowCommand(
        flow="flows.retrain.retrain_logllm",
        settings=RetrainSettings,
        show=_print_retrained,
        help="Train a candidate on what is new in a log, and promote it unless it is worse.\n\n"
        "Candidate and champion judge the same newest windows. Nothing new, nothing done.",
    ),
    "compare-detectors": FlowCommand(
        flow="flows.compare.compare_detectors",
        settings=CompareSettings,
        show=print_comparison,
        help="Stand LogLLM and the paper's nine other methods side by side, on the same windows."
        "\n\nAll are fitted on the training split and measured on the test split. What is there is "
        "reused.",
    ),
    "ablate": FlowCommand(
        flow="flows.ablate.ablate_logllm",
        settings=AblateSettings,
        show=print_ablation,
        help="Train and evaluate variants of the recipe: the paper's ablations, window lengths, "
        "seeds.\n\nThey run side by side, one a card. What is there is reused.",
    ),
}
