from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.logs.windows.rows_to_windows import ROWS, assemble

Row = tuple[int, int, int]  # split, key, line number


def reader(rows: list[Row], batch_sizes: list[int]) -> pa.RecordBatchReader:
    """Rows in batches of these sizes, over and over; a line's message is ten times its number."""

    def batches() -> Iterator[pa.RecordBatch]:
        first, turn = 0, 0
        while first < len(rows):
            size = batch_sizes[turn % len(batch_sizes)]
            turn += 1
            yield pa.RecordBatch.from_pylist(
                [
                    {
                        "split": split,
                        "key": key,
                        "message_id": 10 * line,
                        "line_number": line,
                        "is_alert": line == 2,
                        "time": datetime(1970, 1, 1, 0, 0, line) if line % 2 else None,
                    }
                    for split, key, line in rows[first : first + size]
                ],
                schema=ROWS,
            )
            first += size

    return pa.RecordBatchReader.from_batches(ROWS, batches())


def assembled(rows: list[Row], batch_sizes: list[int]) -> list[tuple[int, int, dict[str, Any]]]:
    return [
        (split, key, window)
        for runs in assemble(reader(rows, batch_sizes), has_line_labels=True)
        for split, key, window in zip(
            runs.splits.tolist(), runs.keys.tolist(), runs.windows.to_pylist(), strict=True
        )
    ]


TWO_WINDOWS_AND_A_SPLIT = [(0, 5, 1), (0, 5, 2), (0, 6, 2), (0, 6, 4), (1, 6, 5)]


@pytest.mark.parametrize("batch_sizes", [[1], [2], [3], [100], [1, 3]])
def test_runs_of_rows_with_one_split_and_key_are_windows_wherever_batches_end(
    batch_sizes: list[int],
) -> None:
    assembled_windows = assembled(TWO_WINDOWS_AND_A_SPLIT, batch_sizes)
    assert [(split, key) for split, key, _ in assembled_windows] == [(0, 5), (0, 6), (1, 6)]
    windows = [window for _, _, window in assembled_windows]
    assert [w["window_id"] for w in windows] == [0, 1, 2]
    assert [w["line_numbers"] for w in windows] == [[1, 2], [2, 4], [5]]
    assert [w["message_ids"] for w in windows] == [[10, 20], [20, 40], [50]]
    assert [w["alerts"] for w in windows] == [[False, True], [True, False], [False]]
    assert [w["is_anomalous"] for w in windows] == [True, True, False]
    first, fifth = datetime(1970, 1, 1, 0, 0, 1), datetime(1970, 1, 1, 0, 0, 5)
    assert [(w["start_time"], w["end_time"]) for w in windows] == [
        (first, first),  # line 2 has no time
        (None, None),
        (fifth, fifth),
    ]


def test_without_line_labels_windows_have_neither_alerts_nor_a_label() -> None:
    for runs in assemble(reader(TWO_WINDOWS_AND_A_SPLIT, [100]), has_line_labels=False):
        assert runs.windows["alerts"].null_count == len(runs.windows) > 0
        assert runs.windows["is_anomalous"].null_count == len(runs.windows)


def test_no_rows_give_no_windows() -> None:
    assert assembled([], [1]) == []


@pytest.mark.parametrize("rows", [[(0, 1, 3), (0, 1, 2)], [(0, 1, 3), (0, 1, 3)]])
def test_rows_out_of_log_order_are_a_fault_of_ours(rows: list[Row]) -> None:
    with pytest.raises(AssertionError, match="out of log order"):
        assembled(rows, [100])


@settings(max_examples=60, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 3)), max_size=25).map(sorted),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
def test_any_batches_give_the_windows_of_groupby(
    keys: list[tuple[int, int]], batch_sizes: list[int]
) -> None:
    rows = [(split, key, line) for line, (split, key) in enumerate(keys)]
    expected = [
        (split, key, [line for _, _, line in run])
        for (split, key), run in groupby(rows, key=lambda row: row[:2])
    ]
    assembled_windows = assembled(rows, batch_sizes)
    assert [(split, key, w["line_numbers"]) for split, key, w in assembled_windows] == expected
    assert [w["window_id"] for _, _, w in assembled_windows] == list(range(len(expected)))
