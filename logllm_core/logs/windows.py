"""Windows and splits, made by DuckDB from the Parquet messages.

The split comes before the windows, so no window straddles it; the last, shorter window of each
split is kept (paper, section V-D). Validation is cut from the training part: its last tenth where
the split is chronological, a seeded tenth of the sessions where it is random.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
from loguru import logger
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import CountWindows, Dataset, FieldLabels, SessionWindows
from logllm_core.store import Artifact, Json, Store

VERSION = 1
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """One split's windows, in log order."""

    window_ids: NDArray[np.int64]
    message_ids: list[tuple[int, ...]]
    is_anomalous: NDArray[np.bool_] | None  # None where nothing is labelled

    def __len__(self) -> int:
        return len(self.message_ids)

    def num_longer_than(self, num_messages: int) -> int:
        return sum(len(ids) > num_messages for ids in self.message_ids)


# Kept lines in order, numbered from 0; the split is where a line stands among them.
_LINES_BY_COUNT = """
create temp table placed as
with kept as (
    select
        line_number, time, message_id, alert,
        row_number() over (order by line_number) - 1 as place
    from read_parquet($messages)
)
select
    *,
    case when place < $num_train then 'train'
         when place < $num_train_all then 'validation'
         else 'test' end as split,
    case split when 'train' then place
               when 'validation' then place - $num_train
               else place - $num_train_all end // $length as window_in_split
from kept
"""
_WINDOWS_BY_COUNT = """
select
    split,
    null::varchar as session_id,
    list(message_id order by line_number) as message_ids,
    list(line_number order by line_number) as line_numbers,
    case when $has_labels then list(alert is not null order by line_number) end as alerts,
    case when $has_labels then bool_or(alert is not null) end as is_anomalous,
    min(time) as start_time,
    max(time) as end_time
from placed
group by split, window_in_split
"""

# The seeded order: MD5 is the same in every version and on every machine, unlike hash().
_SESSIONS = """
create temp table placed as
with lines as (
    select unnest(session_ids) as session_id, line_number, message_id, time
    from read_parquet($messages)
),
sessions as (select distinct session_id from lines),
ranked as (
    select
        session_id,
        row_number() over (order by md5($seed || ':' || session_id), session_id) - 1 as place
    from sessions
)
select
    lines.*,
    case when place < $num_train then 'train'
         when place < $num_train_all then 'validation'
         else 'test' end as split
from lines join ranked using (session_id)
"""
_WINDOWS_BY_SESSION = """
select
    any_value(split) as split,
    session_id,
    list(message_id order by line_number) as message_ids,
    list(line_number order by line_number) as line_numbers,
    null::boolean[] as alerts,
    any_value(is_anomalous) as is_anomalous,
    min(time) as start_time,
    max(time) as end_time
from placed left join labels using (session_id)
group by session_id
"""
_NUMBERED = """
create temp table windows as
with made as ({windows})
select row_number() over (order by line_numbers[1], session_id) - 1 as window_id, made.*
from made
"""


def build_windows(
    store: Store, dataset: Dataset, messages: Artifact, *, validation_fraction: float
) -> Artifact:
    """Cut messages into labelled windows: `split=train|validation|test/*.parquet`.

    Args:
        validation_fraction: share of the training part that is kept for choices, 0 for none.

    Raises:
        LogLLMError: sessions without a label where others have one.
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


def split_sizes(
    total: int, train_fraction: float, validation_fraction: float
) -> tuple[int, int, int]:
    """How many of `total` lines or sessions go to training, validation and test."""
    tiny = 1e-9  # 100 * 0.29 is 28.999999999999996
    num_train_all = int(total * train_fraction + tiny)
    num_validation = int(num_train_all * validation_fraction + tiny)
    return num_train_all - num_validation, num_validation, total - num_train_all


def _build(
    out_dir: Path, dataset: Dataset, messages: Artifact, validation_fraction: float
) -> dict[str, Json]:
    messages_path = str(messages.path / "messages.parquet")
    with duckdb.connect() as connection:
        connection.execute("set temp_directory = ?", [str(out_dir / ".spill")])
        connection.execute("set enable_progress_bar = false")
        if isinstance(dataset.windows, SessionWindows):
            _place_sessions(connection, dataset, messages, validation_fraction)
            windows, parameters = _WINDOWS_BY_SESSION, {}
        else:
            total = _count(connection, "select count(*) from read_parquet(?)", messages_path)
            sizes = split_sizes(total, dataset.train_fraction, validation_fraction)
            assert isinstance(dataset.windows, CountWindows)
            connection.execute(
                _LINES_BY_COUNT,
                {
                    "messages": messages_path,
                    "num_train": sizes[0],
                    "num_train_all": sizes[0] + sizes[1],
                    "length": dataset.windows.length,
                },
            )
            windows = _WINDOWS_BY_COUNT
            parameters = {"has_labels": isinstance(dataset.labels, FieldLabels)}
        connection.execute(_NUMBERED.format(windows=windows), parameters)
        _write_splits(connection, out_dir)
        results = _describe(connection, dataset, validation_fraction)
    logger.info(
        "{}: {}",
        dataset.name,
        ", ".join(
            f"{split} {entry['num_windows']:,} windows ({entry['num_anomalous']} anomalous)"
            for split, entry in results["splits"].items()
        ),
    )
    return results


def _place_sessions(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    messages: Artifact,
    validation_fraction: float,
) -> None:
    assert isinstance(dataset.windows, SessionWindows)
    messages_path = str(messages.path / "messages.parquet")
    labels_path = messages.path / "session_labels.parquet"
    has_labels = labels_path.is_file()
    connection.execute("create temp table labels (session_id varchar, is_anomalous boolean)")
    if has_labels:
        connection.execute(
            "insert into labels select * from read_parquet($path)", {"path": str(labels_path)}
        )
    total = _count(
        connection,
        "select count(distinct id) from (select unnest(session_ids) as id from read_parquet(?))",
        messages_path,
    )
    if total == 0:
        raise LogLLMError(
            f"{dataset.name}: no line names a session. Wanted matches of line.session_pattern "
            f"{dataset.line.session_pattern}; mend it in the data set's file."
        )
    sizes = split_sizes(total, dataset.train_fraction, validation_fraction)
    connection.execute(
        _SESSIONS,
        {
            "messages": messages_path,
            "seed": str(dataset.windows.seed),
            "num_train": sizes[0],
            "num_train_all": sizes[0] + sizes[1],
        },
    )
    if not has_labels:
        return
    unlabelled = connection.execute(
        "select session_id, min(line_number) from placed anti join labels using (session_id)"
        " group by session_id order by 2"
    ).fetchall()
    if unlabelled:
        session, line = unlabelled[0]
        raise LogLLMError(
            f"{dataset.name}: {len(unlabelled):,} of {total:,} sessions have no label, first "
            f"{session} (line {line:,}). Add them to the label file, or take their lines out."
        )


def _write_splits(connection: duckdb.DuckDBPyConnection, out_dir: Path) -> None:
    columns = ", ".join(tables.WINDOWS.names)
    for split in SPLITS:
        folder = out_dir / f"split={split}"
        folder.mkdir()
        path = folder / "part-0.parquet"
        connection.execute(
            f"copy (select {columns} from windows where split = $split order by window_id)"
            " to $path (format parquet, compression zstd)",
            {"split": split, "path": str(path)},
        )
        tables.check(path, tables.WINDOWS)


def _describe(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, validation_fraction: float
) -> dict[str, Json]:
    """What was asked for and what came out."""
    rows = connection.execute(
        "select split, count(*), sum(is_anomalous::int), sum(len(message_ids)),"
        " count(distinct message_ids), max(len(message_ids)) from windows group by split"
    ).fetchall()
    found = {row[0]: row[1:] for row in rows}
    names = ("num_windows", "num_anomalous", "num_lines", "num_distinct_windows", "longest_window")
    splits = {
        split: dict(zip(names, found.get(split, (0, 0, 0, 0, 0)), strict=True)) for split in SPLITS
    }
    unit = "num_windows" if isinstance(dataset.windows, SessionWindows) else "num_lines"
    total = sum(entry[unit] for entry in splits.values())
    labels_without_lines = (
        _count(connection, "select count(*) from labels anti join placed using (session_id)")
        if isinstance(dataset.windows, SessionWindows)
        else 0
    )
    return {
        "splits": splits,
        "requested": {
            "train": dataset.train_fraction,
            "validation_of_train": validation_fraction,
        },
        "obtained": {split: entry[unit] / total for split, entry in splits.items()},
        "num_labels_without_lines": labels_without_lines,
    }


def _count(connection: duckdb.DuckDBPyConnection, query: str, *parameters: str) -> int:
    row = connection.execute(query, list(parameters)).fetchone()
    assert row is not None
    return int(row[0])
