"""How commands read options and print what they found, and the options that all of them know."""

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from logllm_core.errors import LogLLMError

DataDir = Annotated[Path, typer.Option("--data-dir", help="Where everything is kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

DATA_DIR = Path("data")


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def read_changes(given: Sequence[str]) -> dict[str, Any]:
    """`SETTING=VALUE` as names and values; a value is written as in TOML, plain words as they are.

    Raises:
        LogLLMError: one has no "=", or one setting is given twice.
    """
    changes: dict[str, Any] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise LogLLMError(f'--set {text} is not SETTING=VALUE, such as "beta=0.2".')
        if name in changes:
            raise LogLLMError(f"--set {name} is given twice; give it once.")
        try:
            changes[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[name] = value
    return changes


def plain(value: object) -> str:
    """A cell as text; log text may hold markup and control characters."""
    text = "".join(
        mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in str(value)
    )
    return escape(text)
