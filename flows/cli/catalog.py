"""The command line of the catalog: `logllm datasets` and `logllm datasets new`."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from flows.cli.options import AsJson, DataDir
from flows.terminal_text import plain, print_json
from logllm_core.errors import LogLLMError
from logllm_core.store.data_folder import DATA_DIR

if TYPE_CHECKING:
    from logllm_core.logs.drafting.draft import Draft

HELP = (
    "Draft a data set for a log of your own, and show how its first lines are read.\n\n"
    "The format is guessed from the first 2,000 lines. What they do not tell is left to you, as "
    "comments in DATA_DIR/datasets/NAME.toml. Change that file, then go on as with any other data "
    "set:\n\n"
    "[bold]logllm datasets new shop --from '/var/log/shop/*.log.gz'[/bold]\n\n"
    "[bold]logllm prepare shop[/bold]"
)

datasets_app = typer.Typer(rich_markup_mode="rich")

NewName = Annotated[
    str, typer.Argument(help="What to call the data set: lower-case letters, digits, - and _.")
]
From = Annotated[
    str,
    typer.Option(
        "--from",
        help="Your log: a file (plain, .gz, .zst, .bz2, .xz), a glob in quotes, or an address such "
        "as s3://bucket/logs/app.log.",
    ),
]
Like = Annotated[
    str | None,
    typer.Option(
        "--like", help="Take line format, labels and windows of this data set; do not guess."
    ),
]


@datasets_app.callback(invoke_without_command=True)
def datasets(context: typer.Context, data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """List the data sets, or draft one for [bold]logs of your own[/bold]."""
    if context.invoked_subcommand is not None:  # options before its name are meant for it, too
        given = {"data_dir": data_dir, "as_json": as_json}
        context.default_map = {context.invoked_subcommand: given}
        return
    from flows.settings import RunSettings
    from logllm_core.logs.catalog.catalog import list_datasets

    settings = RunSettings.parse({"data_dir": data_dir}, origin="The command line")
    listed, faults = list_datasets(settings.catalog_dirs)
    if as_json:
        print_json([dataset.model_dump(mode="json") for dataset in listed])
    else:
        table = Table("name", "source", "windows", "title", box=box.SIMPLE)
        for dataset in listed:
            row = (dataset.name, dataset.source.kind, dataset.windows.kind, plain(dataset.title))
            table.add_row(*row)
        Console().print(table)
    if faults:  # each stops its own data set alone
        raise LogLLMError("\n".join(map(str, faults)))


@datasets_app.command(help=HELP)
def new(
    name: NewName,
    path: From,
    like: Like = None,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    from flows.settings import RunSettings
    from logllm_core.logs.drafting.draft import draft, write_draft

    settings = RunSettings.parse({"data_dir": data_dir}, origin="The command line")
    drafted = draft(name, path, settings.find_dataset(like) if like is not None else None)
    written = write_draft(drafted, settings.catalog_dirs)
    if as_json:
        print_json({"path": str(written), **_facts(drafted)})
    else:
        _show(drafted, written, data_dir)


def _facts(draft: "Draft") -> dict[str, Any]:
    rejects = [{"line_number": number, "line": line} for number, line in draft.rejects]
    return {
        "format": draft.format_title,
        "sampled": draft.location,
        "num_files": draft.num_files,
        "num_lines": draft.num_lines,
        "num_unparsed": draft.num_unparsed,
        "num_without_time": draft.num_without_time,
        "num_alerts": draft.num_alerts,
        "lines": [asdict(line) for line in draft.lines],
        "rejects": rejects,
    }


def _show(draft: "Draft", path: Path, data_dir: Path) -> None:
    output = Console()
    output.print(_lines_table(draft))
    for sentence in (*_sentences(draft), *_next_steps(draft, path, data_dir)):
        output.print(sentence, soft_wrap=True, highlight=False)


def _lines_table(draft: "Draft") -> Table:
    """The first lines that match; their content is cut to what the terminal leaves."""
    table = Table(box=box.SIMPLE, expand=True)
    times = [plain(line.time or "") for line in draft.lines]
    table.add_column("time", no_wrap=True, min_width=max(map(len, times)))
    table.add_column("alert", no_wrap=True, max_width=20)
    table.add_column("session", no_wrap=True, max_width=20)
    table.add_column("content", no_wrap=True, ratio=1)
    for time, line in zip(times, draft.lines, strict=True):
        sessions = " ".join(line.session_ids)
        table.add_row(time, plain(line.alert or ""), plain(sessions), plain(line.content))
    return table


def _sentences(draft: "Draft") -> list[str]:
    """What the sample tells, as markup."""
    of_how_many = f", the first of {draft.num_files:,} files" if draft.num_files > 1 else ""
    num_parsed = draft.num_lines - draft.num_unparsed
    counted = f"{num_parsed:,} of {draft.num_lines:,} lines match"
    if draft.rejects:
        number, line = draft.rejects[0]
        counted += f"; the first that does not, line {number:,}: {plain(f'{line!r:.120}')}"
    sentences = [f"Sampled: {plain(draft.location)}{of_how_many}."]
    sentences.append(f"Format: {plain(draft.format_title)}. {counted}.")
    if draft.dataset.line.time_format is None:
        sentences.append("No line has a time.")
    elif draft.num_without_time:
        sentences.append(f"The time of {draft.num_without_time:,} lines cannot be read.")
    if draft.dataset.labels is None:
        sentences.append("No line has a label: the log can be prepared and scored, not trained on.")
    else:
        sentences.append(f"{draft.num_alerts:,} of the lines are alerts.")
    return sentences


def _next_steps(draft: "Draft", path: Path, data_dir: Path) -> list[str]:
    option = [] if data_dir == DATA_DIR else ["--data-dir", str(data_dir)]
    command = plain(shlex.join(["logllm", "prepare", draft.dataset.name, *option]))
    if draft.is_refused:
        limit = f"{draft.dataset.line.max_unparsed_fraction:.2%}"
        first = f"More than {limit} do not match: mend the format there, or raise the limit."
    else:
        first = "Read it through; its comments tell what can be changed."
    return [f"Written: {plain(path)}", f"{first} Then: [bold]{command}[/bold]"]
