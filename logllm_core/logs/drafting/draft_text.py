"""The text of a draft: TOML, with comments for the person who will change it."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from logllm_core.logs.catalog.catalog import (
    CountWindows,
    Dataset,
    PatternLabels,
    SessionLabels,
    SessionWindows,
    TimeWindows,
)
from logllm_core.logs.catalog.line_format import LineFormat
from logllm_core.logs.catalog.sources import LocalFile

COLUMNS = 100
DEFAULT_FRACTION = LineFormat.model_fields["max_unparsed_fraction"].default
UNLABELLED = (
    "Nothing tells which lines are alerts. Such a log can be prepared, and scored by a trained "
    "model; to train or to measure a model takes labels. One of these gives them:"
)

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
    [path] = dataset.source.paths
    sections = [
        _comment(
            f"Drafted from the first {facts.num_lines:,} lines of {quoted(facts.location)} "
            f"({facts.format_title}). Change what is wrong; `logllm prepare {dataset.name}` reads "
            "this file."
        ),
        f"title = {quoted(dataset.title)}\n",
        "# train_fraction = 0.8 # of the lines (or sessions) are for training, the rest for tests",
        "\n[source]",
        'kind = "file"',
        _comment(
            'A path, a glob, an address such as "s3://bucket/logs/*.gz", or a list of several, in '
            "the order of time. Plain, .gz, .zst, .bz2 or .xz. Relative paths begin at this file's "
            "folder."
        ),
        f"path = {quoted(path)}",
        '# label_path = "labels.csv" # only where a CSV file labels sessions, see [labels]',
        "\n[line]",
        *_line(dataset.line, facts),
        "",
        *_labels(dataset, facts),
        "\n[windows]",
        *_windows(dataset),
    ]
    return "\n".join(sections) + "\n"


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


def _line(line: LineFormat, facts: Facts) -> list[str]:
    rows = [
        _comment(
            "Either `fields`, names of the words between white space, or `pattern`, a regular "
            "expression (RE2) with named groups that matches the whole line. Both name `content`, "
            "the message; nothing else of the line reaches the model."
        )
    ]
    if line.pattern is None:
        rows.append(f"fields = {_list(line.fields)}")
    else:
        rows.append(f"pattern = {_literal(line.pattern)}")
    rows += [_comment(facts.note)] if facts.note else []
    rows.append(
        _comment(
            "The fields that tell the time, joined by blanks, and how they are read: epoch, "
            'epoch_ms, iso (2024-05-01T12:00:00.123), or as strptime does ("%Y/%m/%d %H:%M:%S").'
        )
    )
    if line.time_format is not None:
        rows.append(f"time_fields = {_list(line.time_fields)}")
        rows.append(f"time_format = {quoted(line.time_format)}")
    else:
        rows += ['# time_fields = ["date", "time"]', '# time_format = "%Y/%m/%d %H:%M:%S"']
    return rows + _sessions(line) + _limit(line, facts)


def _sessions(line: LineFormat) -> list[str]:
    if line.session_pattern is not None:
        return [
            "# Every match in the content names a session that the line belongs to.",
            f"session_pattern = {_literal(line.session_pattern)}",
        ]
    if line.session_field is not None:
        return [f"session_field = {quoted(line.session_field)} # names the line's session"]
    return [
        _comment(
            'Where lines belong to sessions (with [windows] kind = "session"): what in the content '
            "names them, or else the field that does."
        ),
        "# session_pattern = 'blk_-?\\d+'",
        '# session_field = "request"',
    ]


def _limit(line: LineFormat, facts: Facts) -> list[str]:
    found = facts.num_unparsed / facts.num_lines
    rows = [f"max_unparsed_fraction = {line.max_unparsed_fraction}"]
    if found > line.max_unparsed_fraction:
        told = (
            f"{facts.num_unparsed:,} of {facts.num_lines:,} lines sampled ({found:.1%}) do not "
            "match. While that is more than the limit below, `prepare` refuses the log: mend the "
            "format, or raise the limit to leave such lines out."
        )
    else:
        told = (
            "More lines than this that do not match are an error; fewer are counted, and left out."
        )
    return [_comment(told), *rows]


def _labels(dataset: Dataset, facts: Facts) -> list[str]:
    labels = dataset.labels
    if labels is None:
        return _label_examples(dataset, facts)
    assert not isinstance(labels, SessionLabels)
    rows = ["[labels]", f"kind = {quoted(labels.kind)}", f"field = {quoted(labels.field)}"]
    if isinstance(labels, PatternLabels):
        told = "A line is an alert where the field matches; the match is the alert's name."
        return [*rows, _comment(told), f"pattern = {_literal(labels.pattern)}"]
    return [*rows, f"normal = {quoted(labels.normal)} # anything else is the name of an alert"]


def _label_examples(dataset: Dataset, facts: Facts) -> list[str]:
    field = "level" if "level" in dataset.line.names else "content"
    sessions = facts.session_labels or SESSION_LABELS
    examples = {
        "a line is an alert where a field matches; the match is the alert's name": [
            *('kind = "pattern"', f'field = "{field}"', "pattern = '(?i)fatal|panic'")
        ],
        "a field of the line holds the label": [
            *('kind = "field"', 'field = "label"', 'normal = "-" # anything else names the alert')
        ],
        'a CSV file, source.label_path, labels sessions (with [windows] kind = "session")': [
            'kind = "sessions"',
            f"session_column = {quoted(sessions.session_column)}",
            f"label_column = {quoted(sessions.label_column)}",
            f"anomalous = {quoted(sessions.anomalous)}",
            f"normal = {quoted(sessions.normal)}",
        ],
    }
    rows = [_comment(UNLABELLED)]
    for told, settings in examples.items():
        rows += ["#", f"# [labels] # {told}", *(f"# {setting}" for setting in settings)]
    return rows


def _windows(dataset: Dataset) -> list[str]:
    windows = dataset.windows
    count = ['kind = "count"', "length = 100", "step = 50 # overlap; default: the length"]
    time = ['kind = "time"', "length_seconds = 300", "step_seconds = 60 # default: the length"]
    session = ['kind = "session"', "seed = 0 # of the order that splits them"]
    if isinstance(windows, CountWindows):
        own = ['kind = "count"', f"length = {windows.length} # lines"]
        own += [f"step = {windows.step}"] if windows.step is not None else [f"# {count[2]}"]
        others = [time, session]
    elif isinstance(windows, TimeWindows):
        own = ['kind = "time"', f"length_seconds = {windows.length_seconds}"]
        own += [f"step_seconds = {windows.step_seconds}"] if windows.step_seconds else []
        others = [count, session]
    else:
        assert isinstance(windows, SessionWindows)
        own, others = ['kind = "session"', f"seed = {windows.seed}"], [count, time]
    rows = ["# Lines of one window are judged together.", *own]
    for other in others:
        rows += ["# Or:", *(f"# {setting}" for setting in other)]
    return rows
