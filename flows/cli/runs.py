"""The command line of runs: what `logllm train` prints in the end, `logllm runs` and `compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from flows.cli.options import AsJson, DataDir, OptionalName, RunName
from flows.terminal_text import NUM_DIGITS, plain, print_json
from logllm_core.results import MODEL
from logllm_core.store.data_folder import DATA_DIR

if TYPE_CHECKING:
    from logllm_core.evaluation.compare_runs import ComparedFigure, Comparison
    from logllm_core.results.figures import OverSeeds
    from logllm_core.results.report import Report
    from logllm_core.store.runs import ListedRun
    from logllm_core.store.store import Artifact

# Of a row's figures, those that fit a terminal.
COLUMNS = ("F1", "95 %", "precision", "recall", "PR-AUC")


def runs(name: OptionalName = None, data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """List the runs that are there, the newest first."""
    from logllm_core.store.runs import list_runs
    from logllm_core.store.store import Store

    listed = list_runs(Store(data_dir=data_dir), name)
    if as_json:
        print_json([asdict(run) for run in listed])
        return
    if not listed:
        Console().print(
            f"There is no run in {plain(data_dir)} yet. Make one: logllm train demo", soft_wrap=True
        )
        return
    Console().print(_runs_table(listed))


def compare(
    first: RunName, second: RunName, data_dir: DataDir = DATA_DIR, as_json: AsJson = False
) -> None:
    """Show two runs side by side: the settings that differ, and the figures."""
    from logllm_core.evaluation import compare_runs
    from logllm_core.store.runs import find_run
    from logllm_core.store.store import Store

    store = Store(data_dir=data_dir)
    comparison = compare_runs.compare(*(find_run(store, given) for given in (first, second)))
    if as_json:
        print_json(asdict(comparison))
        return
    output = Console()
    output.print(_settings_table(comparison))
    output.print(_compared_table(comparison))
    for sentence in _sentences(comparison):
        output.print(plain(sentence), soft_wrap=True, highlight=False)


def print_report(report: "Artifact", *, as_json: bool) -> None:
    """The figures of all detectors, the verdict, and where the page lies."""
    from logllm_core.results.json_files import as_json as in_files
    from logllm_core.results.json_files import read_report

    content = read_report(report)
    if as_json:
        values = in_files(content)
        more = {"figures": values["detectors"][MODEL]}
        more |= {key: values[key] for key in ("seeds", "learned")}
        print_json({"dataset": report.dataset, **more, "report": str(content.page)})
        return
    output = Console()
    output.print(_figures_table(content))
    if content.seeds:
        output.print(plain(_over_seeds(content.seeds)), soft_wrap=True, highlight=False)
    style = "yellow" if content.learned and content.learned.is_too_little else None
    output.print(plain(content.verdict), soft_wrap=True, highlight=False, style=style)
    output.print(f"Report: {plain(content.page)}", soft_wrap=True, highlight=False)


def _figures_table(report: "Report") -> Table:
    from logllm_core.pages.figures_as_text import shown, shown_interval

    table = _narrow_table("detector", *COLUMNS)
    for name, detector in report.detectors.items():
        cells = (
            shown(detector.f1.value),
            shown_interval(detector.f1.interval),
            shown(detector.precision.value),
            shown(detector.recall.value),
            shown(detector.pr_auc.value),
        )
        table.add_row(name, *cells, style="bold" if name == MODEL else None)
    return table


def _over_seeds(seeds: "OverSeeds") -> str:
    from logllm_core.pages.figures_as_text import LABELS, seed_choice, shown

    means = [
        f"{LABELS[key]} {shown(spread.mean)} (standard deviation {shown(spread.std)})"
        for key in ("f1", "pr_auc")
        if (spread := seeds.figures[key])
    ]
    named = ", ".join(map(str, seeds.seeds))
    mean = f"Mean over the seeds {named}: {', '.join(means) or 'undefined'}."
    return f"{mean} {choice}" if (choice := seed_choice(seeds)) else mean


def _runs_table(runs: "list[ListedRun]") -> Table:
    from logllm_core.pages.figures_as_text import as_setting, shown

    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True, show_edge=False)
    for column in ("run", "made", "data set", "recipe", "seed"):
        table.add_column(column, no_wrap=True)
    for column in ("F1", "PR-AUC"):
        table.add_column(column, justify="right", no_wrap=True)
    has_changes = any(run.overrides for run in runs)
    for column in ("backbones", *(["changed"] if has_changes else [])):
        table.add_column(column, overflow="fold", min_width=5)
    for run in runs:
        made = run.created[:16].replace("T", " ")
        seeds = ", ".join(map(str, run.seeds))
        names = (run.run[:NUM_DIGITS], made, run.dataset, run.recipe, seeds)
        figures = (shown(run.f1), shown(run.pr_auc))
        backbones = ", ".join(Path(part).name for part in run.backbones.split(","))
        changes = [as_setting(run.overrides)] if has_changes else []
        table.add_row(*map(plain, names), *figures, *map(plain, (backbones, *changes)))
    return table


def _settings_table(comparison: "Comparison") -> Table:
    from logllm_core.pages.figures_as_text import as_setting

    table = Table("what differs", box=box.SIMPLE, pad_edge=False)
    for run in (comparison.one, comparison.other):
        lines = (run.run, run.dataset, run.created[:16].replace("T", " "))
        table.add_column("\n".join(map(plain, lines)), overflow="fold")
    for setting in comparison.settings:
        values = map(as_setting, (setting.one, setting.other))
        table.add_row(plain(setting.name), *map(plain, values))
    if not comparison.settings:
        table.add_row("nothing", "", "")
    return table


def _compared_table(comparison: "Comparison") -> Table:
    names = (plain(run.run[:NUM_DIGITS]) for run in (comparison.one, comparison.other))
    table = _narrow_table("figure, and its 95 %", *names, "difference")
    for figure in comparison.figures:
        table.add_row(figure.name, *_cells(figure))
    return table


def _cells(figure: "ComparedFigure") -> list[str]:
    from logllm_core.pages.figures_as_text import LABELS, shown, shown_interval

    alarms = "false_alarms_per_10000"
    key = alarms if figure.name == LABELS[alarms] else ""
    digits = 1 if key else 3
    difference = ""
    if figure.difference is not None:
        rounded = round(figure.difference, digits) + 0.0  # no -0.0
        difference = f"{rounded:+.{digits}f}"
    sides = (
        (shown(figure.one, key=key), figure.one_interval),
        (shown(figure.other, key=key), figure.other_interval),
        (difference, figure.difference_interval),
    )
    return [
        f"{value}\n[dim]{shown_interval(bounds, key=key)}[/dim]" if bounds else value
        for value, bounds in sides
    ]


def _sentences(comparison: "Comparison") -> list[str]:
    """Whether the figures compare."""
    if comparison.has_same_test_windows is None:
        return [
            "Whether both runs judged the same test windows cannot be told: windows of one of them "
            "are gone. Do not compare their figures."
        ]
    if not comparison.has_same_test_windows:
        return ["The runs did not judge the same test windows: their figures do not compare."]
    same = "Both runs judged the same test windows. Differences are those of the second run"
    if any(figure.difference_interval for figure in comparison.figures):
        return [f"{same}; their 95 % intervals are from resamples that both runs share."]
    return [f"{same}, without intervals: predictions are gone, or a figure is undefined."]


def _narrow_table(first: str, *others: str) -> Table:
    """A table of figures that fits 100 columns; the first column may wrap."""
    table = Table(first, box=box.SIMPLE, pad_edge=False, collapse_padding=True, show_edge=False)
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    return table
