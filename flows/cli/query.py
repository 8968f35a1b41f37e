"""The command line of the tables: `logllm query`."""

import sys
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer
from loguru import logger
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.cli.options import AsJson, DataDir
from flows.terminal_text import legible_lines, print_json_list
from logllm_core.errors import LogLLMError
from logllm_core.store.data_folder import DATA_DIR

if TYPE_CHECKING:
    from logllm_core.query.views import Answer

MAX_CHARACTERS = 2_000  # in a cell
GRACE_SECONDS = 1.0  # for DuckDB, which does not hear an interrupt in the midst of one call


def query(
    statement: Annotated[
        str, typer.Argument(help="One statement that reads, as DuckDB speaks it.")
    ],
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Ask the tables: NAME.messages, .vocabulary, .windows, .predictions, .contributions, .scores.

    The last are those of the other detectors, from compare-detectors. A table shows the first rows,
    --json prints all.
    """
    from flows.display import ended_by_interrupt
    from logllm_core.query.views import answering
    from logllm_core.store.store import Store

    logger.remove()  # loguru's own handler
    logger.add(_warn, format="{message}", level="WARNING")
    with (
        ended_by_interrupt(GRACE_SECONDS),
        answering(Store(data_dir=data_dir), statement) as answer,
    ):
        (_print_json if as_json else _print_table)(answer)


def _print_json(answer: "Answer") -> None:
    columns = answer.columns
    if again := sorted({name for name in columns if columns.count(name) > 1}):
        raise LogLLMError(
            f"Several columns are called {', '.join(again)}, and JSON would keep one of them. Name "
            "them apart: SELECT ... AS name."
        )
    rows = chain.from_iterable(answer.batches)
    print_json_list(dict(zip(columns, row, strict=True)) for row in rows)


def _print_table(answer: "Answer") -> None:
    """The first batch of rows; what is left out is read all the same, to be counted."""
    table = Table(box=box.SIMPLE)
    for name in answer.columns:
        table.add_column(_cell(name), overflow="fold")  # else a long word loses its end
    for row in next(answer.batches, ()):
        table.add_row(*("" if value is None else _cell(value) for value in row))
    output = Console()
    output.print(table)
    if num_more := sum(map(len, answer.batches)):
        output.print(
            f"{num_more:,} more rows are left out. All of them: --json",
            soft_wrap=True,
            highlight=False,
        )


def _cell(value: object) -> str:
    text = legible_lines(str(value))
    if num_more := len(text[MAX_CHARACTERS:]):
        text = f"{text[:MAX_CHARACTERS]}... and {num_more:,} more characters"
    return escape(text)


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {legible_lines(message)}")
