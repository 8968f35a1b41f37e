"""What a stream goes on from after a restart: its counts, its state, and the lines that wait."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import pyarrow as pa

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.store.store import Json

_READING = {"line", "labels", "windows"}  # what of a data set's file tells how a log is read


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What became of a log's lines, since its first."""

    num_lines: int = 0
    num_kept_lines: int = 0
    num_unparsed_lines: int = 0
    num_late_lines: int = 0  # their window, or one of them, had closed
    num_lines_ahead: int = 0  # their time closed no window, as the next line's is far before it
    num_lines_without_time: int = 0
    num_shortened_lines: int = 0  # too long, without their rest
    num_lines_without_session: int = 0  # in no window, where windows are sessions

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """What a stream knows of its log, and the lines that wait in open windows."""

    state: Mapping[str, Json]
    lines: pa.Table

    def dataset_of(self, dataset: Dataset) -> Dataset:
        """The data set as its file was when the open windows were cut."""
        if self.is_unread or not len(self.lines):
            return dataset
        return Dataset.model_validate(dataset.model_dump(mode="json") | self.state["reading"])

    @property
    def is_unread(self) -> bool:
        """Whether the lines are as they came, and can be read in any way."""
        return self.state["label_column"]["is_there"] is None


def reading_of(dataset: Dataset) -> Json:
    """How a data set's file says that lines are read and cut."""
    return dataset.model_dump(mode="json", include=_READING)
