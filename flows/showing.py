"""How commands print what they found, and the options that every one of them knows."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

DataDir = Annotated[Path, typer.Option("--data-dir", help="Where everything is kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

DATA_DIR = Path("data")


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def plain(value: object) -> str:
    """A cell as text; log text may hold markup and control characters."""
    text = "".join(
        mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in str(value)
    )
    return escape(text)
