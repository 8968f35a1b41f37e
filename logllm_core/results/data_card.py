"""The data card, as a value: where the log came from, and how much of its test split repeats."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter

# What an earlier step said of itself, as its manifest has it.
Facts = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeats:
    """Test windows that repeat a training window message for message, by the latter's labels."""

    same_label: int
    other_label: int
    both_labels: int  # the sequence is in training with either


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCounts:
    """The windows of a split."""

    num_windows: int
    num_distinct_windows: int
    num_anomalous: int
    num_lines: int
    longest_window: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCard:
    """Counts of the log and its windows."""

    source: Facts
    log: Facts
    labels_of_dropped: Mapping[str, int] | None  # None where they cannot be told
    splits: Mapping[str, SplitCounts]
    requested: Mapping[str, float]
    obtained: Mapping[str, float]
    num_lines_with_guessed_time: int = 0
    num_labels_without_lines: int = 0
    num_anomalous_runs: int
    repeats: Repeats
    f1_ceiling: float | None
    num_test_messages_unseen_in_training: int

    @property
    def checksums(self) -> list[str]:
        """Of the log's files and of the file of its labels: what tells one raw log from another."""
        source = _SOURCE.validate_python(self.source)
        return [file.checksum for file in (*source.log_files, source.label_file) if file]


@dataclass(frozen=True, kw_only=True, slots=True)
class _SourceFile:
    checksum: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _SourceFiles:
    log_files: tuple[_SourceFile, ...]
    label_file: _SourceFile | None


_SOURCE = TypeAdapter(_SourceFiles)
