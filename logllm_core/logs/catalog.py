"""The catalog of data sets: one TOML file each, in `data/datasets/`."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

import httpx
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError

DATASET_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
RESERVED_NAMES = {"information_schema", "logllm", "pg_catalog", "system", "temp"}
CONTENT = "content"


class Archive(Settings):
    """A published archive."""

    kind: Literal["archive"]
    url: str = Field(pattern=r"^https?://")
    size_bytes: int | None = None
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    log_member: str | None = None  # None: the (compressed) file itself is the log
    label_member: str | None = None  # the CSV file of session labels

    @property
    def file_name(self) -> str:
        return httpx.URL(self.url).path.rsplit("/", 1)[-1]

    @field_validator("url")
    @classmethod
    def _url_names_a_file(cls, url: str) -> str:
        try:
            path = httpx.URL(url).path
        except httpx.InvalidURL as fault:
            raise ValueError(f"not an address: {fault}") from None
        if path.endswith("/"):
            raise ValueError("the address must end in the archive's name")
        return url


class LocalFile(Settings):
    """A log file of the user's own, plain or .gz; relative to the data set's TOML file."""

    kind: Literal["file"]
    path: Path
    label_path: Path | None = None


class Simulator(Settings):
    """A seeded log that the project writes itself, see `logllm_core/logs/simulator.py`."""

    kind: Literal["simulator"]
    num_lines: int = Field(ge=1_000)
    seed: int = 0
    unstable_from_fraction: float = Field(default=0.8, ge=0, le=1)  # of the lines


class LineFormat(Settings):
    """How a line is cut into fields.

    Fields are separated by runs of white space; the last one, `content`, is the rest of the line,
    and only it reaches the model.
    """

    fields: tuple[str, ...]
    time_fields: tuple[str, ...] = ()
    time_format: str | None = None  # "epoch" (seconds), or as strptime reads it
    session_pattern: str | None = None  # every distinct match in the content is a session id
    max_unparsed_fraction: float = Field(default=0.01, ge=0, le=1)

    @field_validator("fields")
    @classmethod
    def _fields_are_names(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        if fields[-1:] != (CONTENT,):
            raise ValueError(f'the last field must be "{CONTENT}"')
        if any(not re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in fields):
            raise ValueError("field names are lower-case letters, digits and underscores")
        if len(set(fields)) < len(fields):
            raise ValueError("field names must differ from each other")
        return fields

    @field_validator("session_pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        try:
            num_groups = re.compile(pattern or "").groups
        except re.error as fault:
            raise ValueError(f"not a regular expression: {fault}") from None
        if num_groups:
            raise ValueError("the whole match is the session id; write (?:...) for groups")
        try:
            pc.match_substring_regex(pa.array([""]), pattern or "")
        except pa.ArrowInvalid as fault:
            raise ValueError(f"not a regular expression as RE2 reads them: {fault}") from None
        if pattern is not None and re.search(pattern, ""):
            raise ValueError("the pattern matches the empty text; it must match at least one sign")
        return pattern

    @field_validator("time_format")
    @classmethod
    def _time_format_is_read(cls, time_format: str | None) -> str | None:
        if time_format in (None, "epoch"):
            return time_format
        written = pa.array([datetime(2005, 6, 13, 15, 42, 50).strftime(time_format)])
        times = pc.strptime(written, format=time_format, unit="s", error_is_null=True)
        if "%" not in time_format or times.null_count:
            raise ValueError(
                'a time cannot be read back with it; wanted "epoch", or a format such as '
                '"%Y-%m-%d %H:%M:%S" (fractions of a second are not read)'
            )
        return time_format

    @model_validator(mode="after")
    def _time_is_told_by_fields(self) -> Self:
        if strange := set(self.time_fields) - set(self.fields):
            raise ValueError(f"time_fields names {sorted(strange)}, which are not among the fields")
        if bool(self.time_fields) != (self.time_format is not None):
            raise ValueError("time_fields and time_format go together")
        return self


class FieldLabels(Settings):
    """Each line carries its label in a field."""

    kind: Literal["field"]
    field: str = "label"
    normal: str = "-"  # anything else names the alert


class SessionLabels(Settings):
    """A CSV file beside the log labels each session."""

    kind: Literal["sessions"]
    session_column: str
    label_column: str
    anomalous: str
    normal: str


class CountWindows(Settings):
    """Windows of `length` consecutive lines; the split is chronological."""

    kind: Literal["count"]
    length: int = Field(default=100, ge=1)


class SessionWindows(Settings):
    """One window per session; the split is random, by a seeded order of the session ids."""

    kind: Literal["session"]
    seed: int = 0


class Dataset(Settings):
    """One data set: where it comes from and how it is read."""

    name: str
    title: str
    page: str | None = None
    licence: str | None = None
    citation: str | None = None
    source: Annotated[Archive | LocalFile | Simulator, Field(discriminator="kind")]
    line_slice: tuple[int, int] | None = None  # 0-based, half-open raw line numbers
    line: LineFormat
    labels: Annotated[FieldLabels | SessionLabels, Field(discriminator="kind")] | None = None
    windows: Annotated[CountWindows | SessionWindows, Field(discriminator="kind")]
    train_fraction: float = Field(default=0.8, gt=0, lt=1)

    @field_validator("name")
    @classmethod
    def _name_is_a_plain_word(cls, name: str) -> str:
        if not DATASET_NAME.fullmatch(name):  # it becomes a folder and a schema
            raise ValueError("a data set's name is lower-case letters, digits, - and _")
        if name in RESERVED_NAMES:
            raise ValueError(f"DuckDB keeps the name {name} for itself; choose another")
        return name

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if isinstance(self.labels, FieldLabels) and self.labels.field not in self.line.fields:
            raise ValueError(f'labels.field "{self.labels.field}" is not among line.fields')
        by_session = isinstance(self.windows, SessionWindows)
        if by_session != (self.line.session_pattern is not None):
            raise ValueError("windows by session and line.session_pattern go together")
        if self.labels and isinstance(self.labels, SessionLabels) != by_session:
            raise ValueError("labels by session and windows by session go together")
        if self.line_slice and not 0 <= self.line_slice[0] < self.line_slice[1]:
            raise ValueError("line_slice must be two numbers, first smaller than the second")
        return self


def list_datasets(folders: Sequence[Path]) -> list[Dataset]:
    """All data sets of the catalog folders, sorted by name; earlier folders win."""
    found: dict[str, Dataset] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            if path.stem not in found:
                found[path.stem] = _load(path)
    return [found[name] for name in sorted(found)]


def find_dataset(name: str, folders: Sequence[Path]) -> Dataset:
    """The data set of that name, or the one that a path to a TOML file describes.

    Raises:
        LogLLMError: there is none, or its file has faults.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise LogLLMError(f"There is no file {name}. Give a data set's name or its TOML file.")
        return _load(Path(name))
    if DATASET_NAME.fullmatch(name):
        for folder in folders:
            if (folder / f"{name}.toml").is_file():
                return _load(folder / f"{name}.toml")
    known = ", ".join(sorted({p.stem for folder in folders for p in folder.glob("*.toml")}))
    raise LogLLMError(
        f'There is no data set "{name}". Known: {known}. For logs of your own, write '
        f"{folders[0]}/NAME.toml (the README shows one)."
    )


def _load(path: Path) -> Dataset:
    dataset = Dataset.load(path, name=path.stem)
    if not isinstance(dataset.source, LocalFile):
        return dataset
    source = dataset.source
    here = path.resolve().parent
    placed = LocalFile(
        kind="file",
        path=here / source.path.expanduser(),
        label_path=source.label_path and here / source.label_path.expanduser(),
    )
    return dataset.model_copy(update={"source": placed})
