"""The catalog of data sets: one TOML file each, in `data/datasets/`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.line_format import LineFormat, check_match
from logllm_core.logs.catalog.sources import Archive, LocalFile, Simulator

TRACKED = Path(__file__).resolve().parents[3] / "data" / "datasets"  # those of this project
DATASET_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
MAX_OVERLAP = 1_000  # windows that share a line
RESERVED_NAMES = {"information_schema", "logllm", "pg_catalog", "system", "temp"}


class FieldLabels(Settings):
    """Each line carries its label in a field."""

    kind: Literal["field"]
    field: str = "label"
    normal: str = "-"  # anything else names the alert


class PatternLabels(Settings):
    """A line is an alert where a field matches a regular expression (RE2); the match names it."""

    kind: Literal["pattern"]
    field: str = "content"
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _pattern_matches_something(cls, pattern: str) -> str:
        check_match(pattern, is_called="names the alert")
        return pattern


class SessionLabels(Settings):
    """A CSV file beside the log labels each session."""

    kind: Literal["sessions"]
    session_column: str
    label_column: str
    anomalous: str
    normal: str


def _check_overlap(length: int, step: int | None) -> None:
    if step is not None and length > MAX_OVERLAP * step:
        raise ValueError(f"each line would be in {length // step:,} windows, above {MAX_OVERLAP:,}")


class CountWindows(Settings):
    """Windows of `length` consecutive lines, one every `step`; the split is chronological."""

    kind: Literal["count"]
    length: int = Field(default=100, ge=1, le=1_000_000)  # it is held in memory as a whole
    step: int | None = Field(default=None, ge=1)  # None: the length, so that none overlap

    @model_validator(mode="after")
    def _no_line_is_skipped(self) -> Self:
        if self.step is not None and self.step > self.length:
            raise ValueError("step must not exceed length: lines between windows would be skipped")
        _check_overlap(self.length, self.step)
        return self


class TimeWindows(Settings):
    """Windows of `length_seconds`, one every `step_seconds`; the split is chronological.

    They begin at multiples of the step since 1970, so a longer log cuts the same windows.
    """

    kind: Literal["time"]
    length_seconds: int = Field(ge=1, le=1_000_000_000)
    step_seconds: int | None = Field(default=None, ge=1)  # None: the length

    @model_validator(mode="after")
    def _steps_fill_the_length(self) -> Self:
        if self.step_seconds is not None and self.length_seconds % self.step_seconds:
            raise ValueError("length_seconds must be a multiple of step_seconds")
        _check_overlap(self.length_seconds, self.step_seconds)
        return self


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
    labels: (
        Annotated[FieldLabels | PatternLabels | SessionLabels, Field(discriminator="kind")] | None
    ) = None
    windows: Annotated[CountWindows | TimeWindows | SessionWindows, Field(discriminator="kind")]
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
        labels = self.labels
        if isinstance(labels, FieldLabels | PatternLabels) and labels.field not in self.line.names:
            raise ValueError(f'labels.field "{labels.field}" is not among the line\'s fields')
        by_session = isinstance(self.windows, SessionWindows)
        if by_session != self.line.has_sessions:
            raise ValueError(
                "windows by session and line.session_pattern (or line.session_field) go together"
            )
        if isinstance(labels, SessionLabels) and not by_session:
            raise ValueError("labels by session need windows by session")
        if isinstance(self.windows, TimeWindows) and self.line.time_format is None:
            raise ValueError("windows by time need line.time_fields and line.time_format")
        if self.line_slice and not 0 <= self.line_slice[0] < self.line_slice[1]:
            raise ValueError("line_slice must be two numbers, first smaller than the second")
        return self


def list_datasets(folders: Sequence[Path]) -> tuple[list[Dataset], list[LogLLMError]]:
    """All data sets of the catalog folders, sorted by name; earlier folders win.

    Returns:
        The data sets, and of each file that describes none what is wrong with it.
    """
    paths: dict[str, Path] = {}
    for folder in folders:
        for path in folder.glob("*.toml"):
            paths.setdefault(path.stem, path)
    datasets: list[Dataset] = []
    faults: list[LogLLMError] = []
    for name in sorted(paths):
        try:
            datasets.append(_load(paths[name]))
        except LogLLMError as fault:
            faults.append(fault)
    return datasets, faults


def catalog_dirs(data_dir: Path) -> list[Path]:
    """Where data sets are described: a person's own go first."""
    return [data_dir / "datasets", TRACKED]


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
        f'There is no data set "{name}". Known: {known}. For logs of your own: logllm datasets new '
        "NAME --from FILE."
    )


def _load(path: Path) -> Dataset:
    dataset = Dataset.load(path, name=path.stem)
    if not isinstance(dataset.source, LocalFile):
        return dataset
    source = dataset.source
    here = path.resolve().parent
    placed = LocalFile(
        kind="file",
        path=tuple(_placed(path, here) for path in source.paths),
        label_path=source.label_path and _placed(source.label_path, here),
    )
    return dataset.model_copy(update={"source": placed})


def _placed(path: str, folder: Path) -> str:
    """A path relative to the folder made absolute; an address such as s3://... as it is."""
    if "://" in path:
        return path
    try:
        return str(folder / Path(path).expanduser())
    except RuntimeError:
        raise LogLLMError(f"{path!r} begins with ~, but there is no such user.") from None
