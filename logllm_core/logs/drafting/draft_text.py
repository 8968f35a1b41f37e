"""The text of a draft: TOML, with comments for the person who will change it."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from logllm_core.logs.catalog.catalog import Dataset, SessionLabels
from logllm_core.logs.catalog.sources import LocalFile

TEMPLATE = Path(__file__).with_name("dataset.toml.j2")
COLUMNS = 100
SESSION_LABELS = SessionLabels(  # an example
    kind="sessions",
    session_column="session",
    label_column="label",
    anomalous="anomalous",
    normal="normal",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the comments tell of the sample."""

    location: str
    format_title: str
    note: str
    num_lines: int
    num_unparsed: int
    session_labels: SessionLabels | None  # of the data set that was taken over


def toml_text(dataset: Dataset, facts: Facts) -> str:
    """The data set's file; parsed, it gives the data set again."""
    assert isinstance(dataset.source, LocalFile)
    assert not isinstance(dataset.labels, SessionLabels)
    environment = jinja2.Environment(  # noqa: S701 (each filter marks what ends a TOML string)
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "comment": _comment,
        "list_of": _list,
        "literal": _literal,
        "quoted": quoted,
    }
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    values = {name: getattr(dataset, name) for name in Dataset.model_fields}
    session_labels = facts.session_labels or SESSION_LABELS
    return template.render(**values, facts=facts, session_labels=session_labels)


def quoted(text: str) -> str:
    """A TOML string, whatever the text holds."""
    marks = {'"': '\\"', "\\": "\\\\"}
    shown = (
        marks.get(mark, mark) if mark.isprintable() else f"\\U{ord(mark):08x}" for mark in text
    )
    return f'"{"".join(shown)}"'


def _literal(pattern: str) -> str:
    """A regular expression, its backslashes as they are where TOML lets them be."""
    return f"'{pattern}'" if "'" not in pattern and pattern.isprintable() else quoted(pattern)


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, texts))}]"


def _comment(text: str) -> str:
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
