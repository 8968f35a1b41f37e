"""How commands read changes of a recipe and print what they found."""

import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from typing import Any, TextIO

from rich.markup import escape

from logllm_core.errors import LogLLMError

NUM_DIGITS = 8  # of a fingerprint, in a narrow column


def take_any_text(stream: TextIO) -> None:
    """A terminal of another encoding is shown what it lacks as \\xe9, and ends no command."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    sys.stdout.write(_as_json(value) + "\n")


def print_json_list(values: Iterable[object]) -> None:
    """The same for a list that need not fit into memory."""
    sys.stdout.write("[")
    for place, value in enumerate(values):
        sys.stdout.write(", " * (place > 0) + _as_json(value))
    sys.stdout.write("]\n")


def _as_json(value: object) -> str:
    """In ASCII: a terminal does not act on what a log holds."""
    try:
        return json.dumps(value, default=str)
    except TypeError:  # DuckDB's maps may have times for keys, say
        return json.dumps(_with_text_keys(value), default=str)


def _with_text_keys(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list) else value


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
        except (ValueError, RecursionError):  # no TOML, or beyond what its reader takes
            changes[name] = value
    return changes


def legible(value: object) -> str:
    """As text without control characters, which log text and names may hold."""
    return "".join(
        mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in str(value)
    )


def legible_lines(text: str) -> str:
    """The same for text of several lines, which stay."""
    return "\n".join(map(legible, text.split("\n")))


def plain(value: object) -> str:
    """The same for what rich prints, without markup."""
    return escape(legible(value))


def shared_notes(notes: Sequence[tuple[str, str]], *obvious: str) -> list[str]:
    """Names and their notes, a line a note; without empty ones and those that go without saying."""
    return [
        f"{', '.join(name for name, own in notes if own == note)}: {note}"
        for note in dict.fromkeys(note for _, note in notes)
        if note and note not in obvious
    ]
