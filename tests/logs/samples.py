"""Small data sets for the tests: a log in a folder and the description that reads it."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from logllm_core import tables
from logllm_core.logs.catalog import Dataset, find_dataset
from logllm_core.logs.download import obtain_log
from logllm_core.logs.messages import build_messages
from logllm_core.store import Artifact, Store

CATALOG = Path(__file__).parents[2] / "data" / "datasets"
EPOCH = 1_117_838_570  # 2005-06-03 22:42:50 UTC


def published(name: str) -> Dataset:
    """A tracked data set, whole: the mirror's samples are shorter than the published slices."""
    return find_dataset(name, [CATALOG]).model_copy(update={"line_slice": None})


def labelled_by_line(log_path: Path, **changes: Any) -> Dataset:
    """Lines like `- 1117838570 link is up`, in windows of four."""
    values: dict[str, Any] = {
        "name": "own",
        "title": "A log of our own",
        "source": {"kind": "file", "path": log_path},
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
    by_session = {
        "kind": "sessions",
        "session_column": "BlockId",
        "label_column": "Label",
        "anomalous": "Anomaly",
        "normal": "Normal",
    }
    values: dict[str, Any] = {
        "name": "own",
        "title": "A log of our own",
        "source": {"kind": "file", "path": log_path, "label_path": label_path},
        "line": {"fields": ["level", "content"], "session_pattern": r"blk_-?\d+"},
        "labels": by_session if label_path else None,
        "windows": {"kind": "session"},
    }
    return Dataset.parse({**values, **changes}, origin="a test's data set")


def messages_of(store: Store, dataset: Dataset) -> Artifact:
    return build_messages(store, dataset, obtain_log(store, dataset, mirror=None))


def rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tables.read(path, schema).to_pylist()
    return found


def files_left(store: Store) -> list[Path]:
    """Everything below the store but folders and locks."""
    return [path for path in store.data_dir.rglob("*") if path.is_file() and path.suffix != ".lock"]
