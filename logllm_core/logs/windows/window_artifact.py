"""Windows and splits, made by DuckDB from the Parquet messages.

The split comes before the windows, so no window straddles it; the last, shorter window of each
split is kept (paper, section V-D). Validation is cut from the training part: its last tenth where
the split is chronological, a seeded tenth of the sessions where it is random.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from loguru import logger
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.logs.catalog.catalog import Dataset, SessionLabels, SessionWindows
from logllm_core.logs.messages.log_messages import message_files
from logllm_core.logs.windows import by_order, by_session
from logllm_core.logs.windows.rows_to_windows import Runs, assemble
from logllm_core.logs.windows.splits import SPLITS, Cut, Split
from logllm_core.progress import track
from logllm_core.store.database import as_it_stands, bounded_connection
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.store.table_files import TableFiles

VERSION = 3
NUM_ROWS = 1 << 17  # in memory at once
FILE_WINDOWS = 1 << 8  # in the first files
GROUP_WINDOWS = 1 << 14  # in a row group


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """One split's windows, in log order."""

    window_ids: NDArray[np.int64]
    message_ids: list[tuple[int, ...]]
    is_anomalous: NDArray[np.bool_] | None  # None where nothing is labelled

    def __len__(self) -> int:
        return len(self.message_ids)


def build_windows(
    store: Store, dataset: Dataset, messages: Artifact, *, validation_fraction: float
) -> Artifact:
    """Cut messages into labelled windows: `split=train|validation|test/*.parquet`.

    Args:
        validation_fraction: share of the training part that is kept for choices, 0 for none.

    Raises:
        LogLLMError: sessions without a label where others have one, or no line has a time or a
            session where windows need it.
    """
    config = {
        "windows": dataset.windows.model_dump(mode="json"),
        "train_fraction": dataset.train_fraction,
        "validation_fraction": validation_fraction,
        "is_labelled": dataset.labels is not None,
    }
    return store.reuse_or_build(
        "windows",
        dataset.name,
        config=config,
        inputs={"messages": messages},
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, messages, validation_fraction),
    )


def read_windows(windows: Artifact, split: Split) -> Windows:
    """The windows of one split, without their lines."""
    columns = ["window_id", "message_ids", "is_anomalous"]
    table = tables.read(windows.path / f"split={split}", tables.WINDOWS, columns)
    labels = table["is_anomalous"]
    is_labelled = windows.manifest["config"]["is_labelled"]
    return Windows(
        window_ids=table["window_id"].to_numpy(),
        message_ids=[tuple(ids) for ids in table["message_ids"].to_pylist()],
        is_anomalous=labels.to_numpy().astype(bool) if is_labelled else None,
    )


def split_files(windows: Artifact, split: Split) -> list[str]:
    """The Parquet files of one split's windows, as DuckDB opens them."""
    return _files(windows.path, split)


def _files(folder: Path, split: Split) -> list[str]:
    return [as_it_stands(path) for path in sorted((folder / f"split={split}").glob("*.parquet"))]


def _build(
    out_dir: Path, dataset: Dataset, messages: Artifact, validation_fraction: float
) -> dict[str, Json]:
    with bounded_connection(out_dir / ".spill") as connection:
        connection.read_parquet(message_files(messages)).create_view("messages")
        if isinstance(dataset.labels, SessionLabels):
            labels = as_it_stands(messages.path / "session_labels.parquet")
            connection.read_parquet(labels).create_view("session_labels")
        cut, runs = cut_messages(connection, dataset, validation_fraction)
        _write(runs, out_dir, num_lines=messages.results["num_kept_lines"])
        splits = _describe(connection, out_dir, is_labelled=dataset.labels is not None)
    logger.info(
        "{}: {}",
        dataset.name,
        ", ".join(
            f"{split} {entry['num_windows']:,} windows ({_labelled(entry['num_anomalous'])})"
            for split, entry in splits.items()
        ),
    )
    obtained = {name: size / sum(cut.sizes) for name, size in zip(SPLITS, cut.sizes, strict=True)}
    requested = {"train": dataset.train_fraction, "validation_of_train": validation_fraction}
    return {"splits": splits, "requested": requested, "obtained": obtained, **cut.results}


def cut_messages(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, validation_fraction: float
) -> tuple[Cut, Iterator[Runs]]:
    """How the view `messages` is cut, and the windows of all splits, in order.

    What windows hold is stated in `tests/logs/plain.py`; streams are held to the same statement.
    """
    kind = by_session if isinstance(dataset.windows, SessionWindows) else by_order
    cut = kind.cut(connection, dataset, validation_fraction)
    rows = connection.sql(cut.query, params=dict(cut.parameters)).to_arrow_reader(NUM_ROWS)
    runs = assemble(rows, has_line_labels=cut.has_line_labels)
    return cut, (replace(some, windows=_with_sessions(some, cut)) for some in runs)


def _labelled(num_anomalous: int | None) -> str:
    return "not labelled" if num_anomalous is None else f"{num_anomalous:,} anomalous"


def _write(cut_windows: Iterable[Runs], out_dir: Path, *, num_lines: int) -> None:
    """Each split's windows as Parquet, a batch at a time."""
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                TableFiles(
                    out_dir / f"split={split}",
                    tables.WINDOWS,
                    num_first=FILE_WINDOWS,
                    num_in_group=GROUP_WINDOWS,
                )
            )
            for split in SPLITS
        ]
        advance = stack.enter_context(track("Cutting windows", total=num_lines, unit="lines"))
        for runs in cut_windows:
            for number, writer in enumerate(writers):
                chosen = runs.windows.filter(pa.array(runs.splits == number))
                if len(chosen):
                    writer.write(chosen)
            advance(len(runs.windows["line_numbers"].combine_chunks().values))


def _with_sessions(runs: Runs, cut: Cut) -> pa.Table:
    """Windows with their session ids and labels, where windows are sessions."""
    windows = runs.windows
    if cut.sessions is None:
        return windows
    known = cut.sessions.slice(int(runs.keys[0]), len(windows))
    names = ["session_id"] if cut.has_line_labels else ["session_id", "is_anomalous"]
    for name in names:
        windows = windows.set_column(windows.schema.get_field_index(name), name, known[name])
    return windows.cast(tables.WINDOWS)


def _describe(
    connection: duckdb.DuckDBPyConnection, out_dir: Path, *, is_labelled: bool
) -> dict[str, Json]:
    """What came out, split by split."""
    names = ("num_windows", "num_anomalous", "num_lines", "num_distinct_windows", "longest_window")
    splits: dict[str, Json] = {}
    for split in SPLITS:
        (row,) = connection.execute(
            "select count(*), sum(is_anomalous::int), sum(len(message_ids)),"
            " count(distinct message_ids), max(len(message_ids)) from read_parquet(?)",
            [_files(out_dir, split)],
        ).fetchall()
        splits[split] = dict(zip(names, row, strict=True))
        if not row[0]:
            splits[split] = dict.fromkeys(names, 0) | {"num_anomalous": 0 if is_labelled else None}
    return splits
