from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.store.store import Store
from tests.logs.samples import labelled_by_line, lines_of_windows, window_rows, windows_of

ISO = {"fields": ["label", "day", "content"], "time_fields": ["day"], "time_format": "iso"}


def write(folder: Path, *times: object, alert: int | None = None) -> Path:
    """A line for each time; line `alert` is one."""
    log = folder / "own.log"
    lines = [f"{'KERN' if n == alert else '-'} {time} up\n" for n, time in enumerate(times)]
    log.write_text("".join(lines))
    return log


def by_count(log: Path, length: int, step: int | None = None, **changes: Any) -> Dataset:
    return labelled_by_line(
        log, windows={"kind": "count", "length": length, "step": step}, **changes
    )


def by_time(log: Path, length: int, step: int | None = None, **changes: Any) -> Dataset:
    windows = {"kind": "time", "length_seconds": length, "step_seconds": step}
    return labelled_by_line(log, windows=windows, **changes)


@pytest.mark.parametrize(
    ("num_lines", "length", "step", "train", "test"),
    [
        (10, 4, None, [[0, 1, 2, 3], [4]], [[5, 6, 7, 8], [9]]),
        (10, 4, 4, [[0, 1, 2, 3], [4]], [[5, 6, 7, 8], [9]]),
        # Sliding: the last window is the first one that reaches the split's end.
        (10, 4, 2, [[0, 1, 2, 3], [2, 3, 4]], [[5, 6, 7, 8], [7, 8, 9]]),
        (8, 4, 2, [[0, 1, 2, 3]], [[4, 5, 6, 7]]),
        (12, 4, 2, [[0, 1, 2, 3], [2, 3, 4, 5]], [[6, 7, 8, 9], [8, 9, 10, 11]]),
        (14, 4, 3, [[0, 1, 2, 3], [3, 4, 5, 6]], [[7, 8, 9, 10], [10, 11, 12, 13]]),
        (6, 2, 1, [[0, 1], [1, 2]], [[3, 4], [4, 5]]),
        (6, 5, 1, [[0, 1, 2]], [[3, 4, 5]]),
        (1, 4, 2, [], [[0]]),
        (4, 1, 1, [[0], [1]], [[2], [3]]),
    ],
)
def test_windows_by_count_are_slices_of_each_split(
    store: Store,
    tmp_path: Path,
    num_lines: int,
    length: int,
    step: int | None,
    train: list[list[int]],
    test: list[list[int]],
) -> None:
    log = write(tmp_path, *range(num_lines))
    windows = windows_of(store, by_count(log, length, step, train_fraction=0.5))
    assert lines_of_windows(windows) == {"train": train, "validation": [], "test": test}


def test_an_alert_is_in_every_window_that_slides_over_it(store: Store, tmp_path: Path) -> None:
    log = write(tmp_path, *range(10), alert=3)
    cut = window_rows(windows_of(store, by_count(log, 4, 2, train_fraction=0.5)))
    assert [window["alerts"] for window in cut["train"]] == [
        [False, False, False, True],
        [False, True, False],
    ]
    assert [window["is_anomalous"] for window in cut["train"]] == [True, True]
    assert [window["is_anomalous"] for window in cut["test"]] == [False, False]


def test_windows_by_time_begin_at_multiples_of_the_step_whatever_the_first_line(
    store: Store, tmp_path: Path
) -> None:
    log = write(tmp_path, 17, 19, 20, 29, 30, 31, 32, 33)
    windows = windows_of(store, by_time(log, 10, train_fraction=0.5))
    assert lines_of_windows(windows) == {
        "train": [[0, 1], [2, 3]],
        "validation": [],
        "test": [[4, 5, 6, 7]],
    }
    first = window_rows(windows)["train"][0]
    assert (first["start_time"].second, first["end_time"].second) == (17, 19)


def test_windows_by_time_may_overlap(store: Store, tmp_path: Path) -> None:
    # Windows of 20 s every 10 s: [-10, 10), [0, 20), [10, 30), [20, 40).
    log = write(tmp_path, 0, 9, 10, 25, alert=1)
    cut = windows_of(store, by_time(log, 20, 10, train_fraction=0.9999))
    assert lines_of_windows(cut) == {
        "train": [[0, 1], [0, 1, 2], [2]],
        "validation": [],
        "test": [[3], [3]],  # int(4 * 0.9999) = 3 lines train
    }
    assert [w["is_anomalous"] for w in window_rows(cut)["train"]] == [True, True, False]


@pytest.mark.parametrize(
    ("windows", "train"),
    [
        # 23:59:50 is -10 s, 00:00:00 is 0 s: [-20, -10), [-10, 0), [0, 10).
        ((10, None), [[0], [1, 2], [3, 4]]),
        # Windows of 20 s every 10 s: [-30, -10), [-20, 0), [-10, 10), [0, 20).
        ((20, 10), [[0], [0, 1, 2], [1, 2, 3, 4], [3, 4]]),
    ],
)
def test_windows_by_time_are_as_long_before_1970(
    store: Store, tmp_path: Path, windows: tuple[int, int | None], train: list[list[int]]
) -> None:
    clocks = ["31T23:59:49", "31T23:59:50", "31T23:59:59"]
    times = [f"1969-12-{clock}" for clock in clocks] + ["1970-01-01T00:00:00"] * 2
    log = write(tmp_path, *times, "2005-06-03T00:00:00")
    dataset = by_time(log, *windows, line=ISO, train_fraction=0.9)  # int(6 * 0.9) = 5
    assert lines_of_windows(windows_of(store, dataset))["train"] == train


def test_thirty_years_without_a_line_are_skipped_at_once(store: Store, tmp_path: Path) -> None:
    log = write(tmp_path, 0, 1, 946_684_800, 946_684_801, 946_684_802)
    started = perf_counter()
    for step in (None, 1):
        cut = lines_of_windows(windows_of(store, by_time(log, 2, step, train_fraction=0.79)))
        assert len(cut["train"]) == (2 if step is None else 5)  # int(5 * 0.79) = 3 lines
    assert perf_counter() - started < 10  # second by second it would be a billion windows


def test_the_split_goes_by_lines_even_where_their_times_are_out_of_order(
    store: Store, tmp_path: Path
) -> None:
    log = write(tmp_path, 5, 25, 6, 26, 7, 8)  # int(6 * 0.67) = 4 train
    windows = windows_of(store, by_time(log, 10, train_fraction=0.67))
    assert lines_of_windows(windows) == {
        "train": [[0, 2], [1, 3]],
        "validation": [],
        "test": [[4, 5]],  # of the first span of time, but none of its lines trains
    }


def test_a_line_without_a_time_goes_with_the_line_before_it_and_is_counted(
    store: Store, tmp_path: Path
) -> None:
    log = write(tmp_path, "noon", 25, "noon", "noon", 31, 42, "noon", 33)
    windows = windows_of(store, by_time(log, 10, train_fraction=0.5))
    assert lines_of_windows(windows)["train"] == [[0, 1, 2, 3]]
    assert lines_of_windows(windows)["test"] == [[4, 7], [5, 6]]
    assert windows.results["num_lines_with_guessed_time"] == 4
    assert window_rows(windows)["train"][0]["start_time"] == datetime(1970, 1, 1, 0, 0, 25)


def test_windows_by_count_leave_times_unknown_where_no_line_tells_them(
    store: Store, tmp_path: Path
) -> None:
    log = write(tmp_path, "noon", "noon", 7, "noon")
    cut = window_rows(windows_of(store, by_count(log, 2, train_fraction=0.5)))
    times = [[w["start_time"], w["end_time"]] for w in cut["train"] + cut["test"]]
    assert times == [[None, None], [datetime(1970, 1, 1, 0, 0, 7)] * 2]


def test_windows_by_time_without_any_time_are_an_error(store: Store, tmp_path: Path) -> None:
    log = write(tmp_path, "noon", "noon")
    with pytest.raises(LogLLMError, match="no line's time can be read") as fault:
        windows_of(store, by_time(log, 10))
    assert "Wanted epoch in epoch; mend line.time_format" in str(fault.value)


def test_validation_is_the_last_tenth_of_the_training_part(store: Store, tmp_path: Path) -> None:
    # 100 lines: 80 train, the last 8 of these validate; 20 test.
    log = write(tmp_path, *range(100))
    windows = windows_of(store, by_count(log, 50), validation_fraction=0.1)
    cut = lines_of_windows(windows)
    assert cut == {
        "train": [list(range(50)), list(range(50, 72))],
        "validation": [list(range(72, 80))],
        "test": [list(range(80, 100))],
    }
    assert windows.results["obtained"] == {"train": 0.72, "validation": 0.08, "test": 0.2}
