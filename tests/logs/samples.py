"""Small data sets for the tests: a log in a folder and the description that reads it."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa

from logllm_core import tables
from logllm_core.logs.catalog.catalog import Dataset, find_dataset
from logllm_core.logs.messages import Masking
from logllm_core.logs.messages.file_messages import build_part
from logllm_core.logs.messages.log_messages import (
    build_messages,
    is_masked_in_parts,
    message_files,
    read_vocabulary,
)
from logllm_core.logs.sources.raw_log import log_files, obtain_log
from logllm_core.logs.windows.splits import SPLITS
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.store.store import Artifact, Store
from tests.logs.plain import PlainMessage, PlainWindow, Prepared

CATALOG = Path(__file__).parents[2] / "data" / "datasets"
EPOCH = 1_117_838_570  # 2005-06-03 22:42:50 UTC
BY_SESSION = {
    "kind": "sessions",
    "session_column": "BlockId",
    "label_column": "Label",
    "anomalous": "Anomaly",
    "normal": "Normal",
}


def published(name: str) -> Dataset:
    """A tracked data set, whole: the mirror's samples are shorter than the published slices."""
    return find_dataset(name, [CATALOG]).model_copy(update={"line_slice": None})


def labelled_by_line(*log_paths: Path, **changes: Any) -> Dataset:
    """Lines like `- 1117838570 link is up`, in windows of four."""
    values: dict[str, Any] = {
        "name": "own",
        "title": "A log of our own",
        "source": {"kind": "file", "path": tuple(str(path) for path in log_paths)},
        "line": {
            "fields": ["label", "epoch", "content"],
            "time_fields": ["epoch"],
            "time_format": "epoch",
        },
        "labels": {"kind": "field"},
        "windows": {"kind": "count", "length": 4},
    }
    return Dataset.parse({**values, **changes}, origin="a test's data set")


def labelled_by_session(log_path: Path, label_path: Path | None, **changes: Any) -> Dataset:
    """Lines like `INFO blk_1 received`, labelled by a CSV file unless that is None."""
    values: dict[str, Any] = {
        "name": "own",
        "title": "A log of our own",
        "source": {
            "kind": "file",
            "path": str(log_path),
            "label_path": label_path and str(label_path),
        },
        "line": {"fields": ["level", "content"], "session_pattern": r"blk_-?\d+"},
        "labels": BY_SESSION if label_path else None,
        "windows": {"kind": "session"},
    }
    return Dataset.parse({**values, **changes}, origin="a test's data set")


def of_line(labels: dict[str, Any] | None = None, **line: Any) -> Dataset:
    """A data set of that line format."""
    has_sessions = "session_pattern" in line or "session_field" in line
    windows = {"kind": "session" if has_sessions else "count"}
    return labelled_by_line(Path("own.log"), line=line, labels=labels, windows=windows)


def messages_of(
    store: Store, dataset: Dataset, *, preprocessing: Masking = "regex", mirror: Path | None = None
) -> Artifact:
    raw = obtain_log(store, dataset, mirror=mirror)
    is_masked = is_masked_in_parts(preprocessing)
    parts = [build_part(store, dataset, raw, file, is_masked=is_masked) for file in log_files(raw)]
    return build_messages(store, dataset, raw, parts, preprocessing=preprocessing)


def windows_of(store: Store, dataset: Dataset, *, validation_fraction: float = 0) -> Artifact:
    built = messages_of(store, dataset)
    return build_windows(store, dataset, built, validation_fraction=validation_fraction)


def rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """The rows of a Parquet file, or of a folder of them."""
    read_rows: list[dict[str, Any]] = tables.read(path, schema).to_pylist()
    return read_rows


def message_rows(messages: Artifact) -> list[dict[str, Any]]:
    return [row for path in message_files(messages) for row in rows(Path(path), tables.MESSAGES)]


def window_rows(windows: Artifact) -> dict[str, list[dict[str, Any]]]:
    return {split: rows(windows.path / f"split={split}", tables.WINDOWS) for split in SPLITS}


def lines_of_windows(windows: Artifact) -> dict[str, list[list[int]]]:
    """The line numbers of each window, split by split."""
    read_rows = window_rows(windows)
    return {split: [row["line_numbers"] for row in read_rows[split]] for split in SPLITS}


def as_prepared(messages: Artifact, windows: Artifact) -> Prepared:
    """What the pipeline made, in the words of the plain statement."""

    def plain(row: dict[str, Any]) -> dict[str, Any]:
        return {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}

    rejects = rows(messages.path / "rejects.parquet", tables.REJECTS)
    return Prepared(
        messages=[PlainMessage(**plain(row)) for row in message_rows(messages)],
        vocabulary=read_vocabulary(messages),
        rejects=[(row["line_number"], row["line"]) for row in rejects],
        windows={
            str(split): [PlainWindow(**plain(row)) for row in read_rows]
            for split, read_rows in window_rows(windows).items()
        },
    )


def lines_as_python_reads_them(raw: bytes) -> list[str]:
    with io.TextIOWrapper(io.BytesIO(raw), encoding="latin-1") as stream:
        return [line.removesuffix("\n") for line in stream]


def files_left(store: Store) -> list[Path]:
    """Everything below the store but folders, locks and the index of checksums."""
    paths = [path for path in store.data_dir.rglob("*") if path.is_file()]
    return [path for path in paths if path.suffix != ".lock" and path.name[0] != "."]
