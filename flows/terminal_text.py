"""Text for a terminal or a program: JSON, and what logs and names hold without its controls."""

import json
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from typing import TextIO

from rich.markup import escape

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
    for number, value in enumerate(values):
        sys.stdout.write(", " * (number > 0) + _as_json(value))
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
        f"{', '.join(name for name, its_note in notes if its_note == note)}: {note}"
        for note in dict.fromkeys(note for _, note in notes)
        if note and note not in obvious
    ]
