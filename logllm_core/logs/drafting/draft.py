"""Drafts of data sets: what a sample of a log says of its format, as a TOML file to change."""

import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, SessionLabels
from logllm_core.logs.drafting.draft_text import Facts, toml_text
from logllm_core.logs.drafting.known_formats import BARE_LINES, KNOWN_FORMATS, KnownFormat
from logllm_core.logs.drafting.sampled_log import SampledLog, take_sample
from logllm_core.logs.messages.parsing import ParsedBlock, parse_block
from logllm_core.store.disk import replace_file, writable

NUM_LINES_SHOWN = 5
NUM_REJECTS_SHOWN = 3
MIN_FRACTION = 0.5  # of the lines that a format must match, else it is that of a few among others
SLACK_FRACTION = 0.01  # formats this close are tied: prepare tolerates as many unparsed lines


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledLine:
    """A line as `prepare` would keep it."""

    time: datetime | None
    alert: str | None
    session_ids: tuple[str, ...]
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A data set as guessed from a sample.

    Args:
        toml: the text of its file, with comments for whoever changes it.
        dataset: what that text says.
        format_title: the format that was recognised.
        location: the file that was sampled, the first of `num_files`.
        num_lines: how many lines were sampled. `num_unparsed` do not match the format; of the
            others, `num_without_time` have no time, and `num_alerts` are labelled as alerts.
        lines: the first that match.
        rejects: the first that do not, with their 0-based line numbers.
    """

    toml: str
    dataset: Dataset
    format_title: str
    location: str
    num_files: int
    num_lines: int
    num_unparsed: int
    num_without_time: int
    num_alerts: int
    lines: tuple[SampledLine, ...]
    rejects: tuple[tuple[int, str], ...]

    @property
    def is_refused(self) -> bool:
        """Whether `prepare` would refuse a log of which this sample is typical."""
        return self.num_unparsed > self.num_lines * self.dataset.line.max_unparsed_fraction


def draft(name: str, path: str, like: Dataset | None) -> Draft:
    """A data set for the log at `path`, judged by its first lines.

    Args:
        path: a path, a glob or an fsspec address.
        like: a data set whose line format, labels and windows are taken over; else the format is
            the known one that matches the most lines.

    Raises:
        LogLLMError: the catalog would refuse the name, the log has no lines to read, or none of
            them matches.
    """
    sample = take_sample(path)
    bare = _bare(name, sample.path)
    dataset, known = _taken_over(bare, like) if like else _guessed(bare, sample)
    parsed = parse_block(dataset, sample.block)
    if not len(parsed.line_numbers):
        raise _nothing_parses(dataset, sample, parsed, like)
    facts = Facts(
        location=sample.location,
        format_title=known.title,
        note=known.note,
        num_lines=len(sample.block),
        num_unparsed=len(parsed.reject_numbers),
        session_labels=like.labels if like and isinstance(like.labels, SessionLabels) else None,
    )
    toml = toml_text(dataset, facts)
    written = Dataset.parse({"name": name, **tomllib.loads(toml)}, origin="The draft")
    assert written == dataset
    return _drafted(toml, written, known, sample, parsed)


def write_draft(draft: Draft, folders: Sequence[Path]) -> Path:
    """Write the draft into the first of the catalog's folders; returns the file.

    Raises:
        LogLLMError: one of the folders knows a data set of that name, or it cannot be written.
    """
    file_name = f"{draft.dataset.name}.toml"
    for folder in folders:
        if os.path.lexists(folder / file_name):
            raise LogLLMError(
                f"There is a data set {draft.dataset.name} already: {folder / file_name}. Choose "
                "another name, or move that file; a draft replaces nothing."
            )
    path = folders[0] / file_name
    with writable(folders[0]):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, draft.toml.encode())
    return path


def _drafted(
    toml: str, dataset: Dataset, known: KnownFormat, sample: SampledLog, parsed: ParsedBlock
) -> Draft:
    return Draft(
        toml=toml,
        dataset=dataset,
        format_title=known.title,
        location=sample.location,
        num_files=sample.num_files,
        num_lines=len(sample.block),
        num_unparsed=len(parsed.reject_numbers),
        num_without_time=parsed.times.null_count,
        num_alerts=len(parsed.alerts) - parsed.alerts.null_count,
        lines=_first_lines(parsed),
        rejects=_first_rejects(parsed),
    )


def _bare(name: str, path: str) -> Dataset:
    """The data set before anything is known of its lines; its name is checked here."""
    values = {
        "name": name,
        "title": name,
        "source": {"kind": "file", "path": path},
        "line": BARE_LINES.line,
        "windows": {"kind": "count"},
    }
    return Dataset.parse(values, origin="The new data set")


def _taken_over(bare: Dataset, like: Dataset) -> tuple[Dataset, KnownFormat]:
    # Labels of sessions lie in a file beside the log, which nobody has named.
    labels = None if isinstance(like.labels, SessionLabels) else like.labels
    known = KnownFormat(title=f"like {like.name}", line=like.line)
    changes = {"line": like.line, "labels": labels, "windows": like.windows}
    return _titled(bare, known, **changes), known


def _guessed(bare: Dataset, sample: SampledLog) -> tuple[Dataset, KnownFormat]:
    """The data set in the first format that matches as many lines as any other, or nearly."""
    lines = sample.block.lines()
    num_lines = int(pc.sum(pc.match_substring_regex(lines, r"\S")).as_py())
    if num_lines == 0:
        raise LogLLMError(f"{sample.location}: the lines are blank. Name a file with messages.")
    num_objects = sum(map(_is_json_object, lines.to_pylist()))
    if num_objects >= MIN_FRACTION * num_lines:
        raise LogLLMError(
            f"{sample.location} holds JSON lines ({num_objects:,} of the {num_lines:,} sampled), "
            "which are not read. Write them as text first, time and message side by side, for "
            "instance with: jq -r '\"\\(.time) \\(.level) \\(.message)\"'"
        )
    matches = [(_num_matches(bare, known, sample), known) for known in KNOWN_FORMATS]
    most = max(count for count, _ in matches)
    enough = max(most - SLACK_FRACTION * num_lines, MIN_FRACTION * num_lines)
    known = next((known for count, known in matches if count >= enough), BARE_LINES)
    return _titled(bare, known, line=known.line, labels=known.labels), known


def _titled(bare: Dataset, known: KnownFormat, **changes: object) -> Dataset:
    return bare.model_copy(update={"title": f"{bare.name}: {known.title}", **changes})


def _num_matches(bare: Dataset, known: KnownFormat, sample: SampledLog) -> int:
    """Lines that bear the format's marks, match it and have a time."""
    parsed = parse_block(bare.model_copy(update={"line": known.line}), sample.block)
    is_marked = pc.match_substring_regex(sample.block.lines(), f"^(?:{known.marks})")
    with_time = parsed.line_numbers.filter(parsed.times.is_valid())
    return int(pc.sum(is_marked.take(with_time)).as_py() or 0)


def _is_json_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _nothing_parses(
    dataset: Dataset, sample: SampledLog, parsed: ParsedBlock, like: Dataset | None
) -> LogLLMError:
    assert like is not None  # a guess matches some line
    return LogLLMError(
        f"{sample.location}: none of the first {len(parsed.reject_numbers):,} lines is like those "
        f"of {like.name}. First: {parsed.reject_lines[0].as_py()!r:.120}. Wanted: "
        f"{dataset.line.wanted}. Leave --like out, and the format is guessed."
    )


def _first_lines(parsed: ParsedBlock) -> tuple[SampledLine, ...]:
    columns = (parsed.times, parsed.alerts, parsed.session_ids, parsed.contents)
    rows = zip(*(column[:NUM_LINES_SHOWN].to_pylist() for column in columns), strict=True)
    return tuple(
        SampledLine(time=time, alert=alert, session_ids=tuple(ids), content=content)
        for time, alert, ids, content in rows
    )


def _first_rejects(parsed: ParsedBlock) -> tuple[tuple[int, str], ...]:
    columns = (parsed.reject_numbers, parsed.reject_lines)
    rows = zip(*(column[:NUM_REJECTS_SHOWN].to_pylist() for column in columns), strict=True)
    return tuple(rows)
