"""The command line of `logllm verify`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.cli.options import AsJson, DataDir
from flows.terminal_text import plain, print_json
from logllm_core.store.data_folder import DATA_DIR

if TYPE_CHECKING:
    from logllm_core.verification import Verified

Repair = Annotated[
    bool,
    typer.Option("--repair", help="Set damaged artifacts aside; they are built anew when wanted."),
]


def verify(repair: Repair = False, data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """Read every file of the data folder again: does it hold what was written into it?

    Exit status 1 says that something is damaged and was not set aside. Every command checks what
    it builds on by itself; this one finds what a disk lost meanwhile.
    """
    from flows.display import shown_progress
    from logllm_core.store.store import Store
    from logllm_core.verification import verify as verify_folder

    with shown_progress():
        verified = verify_folder(Store(data_dir=data_dir), is_repairing=repair)
    if as_json:
        print_json(asdict(verified))
    else:
        _tell(verified)
    if verified.num_left:
        raise typer.Exit(1)


def _tell(verified: "Verified") -> None:
    output = Console()
    for damage in verified.damages:
        output.print(f"[bold red]damaged[/bold red]  {plain(damage.path)}", soft_wrap=True)
        output.print(f"    {plain(damage.fault)}", soft_wrap=True, highlight=False)
        if damage.set_aside:
            output.print(f"    It lies in {plain(damage.set_aside)} now.", soft_wrap=True)
    count = len(verified.damages)
    outcome = f"{count:,} damaged" if count else "all as they were written"
    output.print(
        f"{verified.num_artifacts:,} artifacts and {verified.num_records:,} records were read: "
        f"{outcome}.",
        soft_wrap=True,
        highlight=False,
    )
