import re
from datetime import datetime
from pathlib import Path

import pytest

from logllm_core import tables
from logllm_core.logs.windows import window_artifact
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.store import database, table_files
from logllm_core.store.store import Store
from tests.logs.samples import labelled_by_line, window_rows, windows_of

LINE = {
    "fields": ["label", "epoch", "content"],
    "time_fields": ["epoch"],
    "time_format": "epoch",
    "max_unparsed_fraction": 0.1,
}


@pytest.fixture
def sixteen_lines(tmp_path: Path) -> Path:
    """Lines 0 to 15, of which line 5 has no content; alerts in lines 4 and 13."""
    path = tmp_path / "own.log"
    lines = [f"- {number} {'even' if number % 2 == 0 else 'odd'}" for number in range(16)]
    lines[4] = "KERN 4 even"
    lines[5] = "- 5"
    lines[13] = "APP 13 odd"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_windows_by_count_are_cut_after_the_split(store: Store, sixteen_lines: Path) -> None:
    # 15 kept lines: int(15 * 0.6) = 9 train, of these int(9 * 0.34) = 3 for validation; 6 test.
    dataset = labelled_by_line(sixteen_lines, line=LINE, train_fraction=0.6)
    windows = windows_of(store, dataset, validation_fraction=0.34)
    rows = window_rows(windows)
    assert {split: [w["line_numbers"] for w in part] for split, part in rows.items()} == {
        "train": [[0, 1, 2, 3], [4, 6]],
        "validation": [[7, 8, 9]],
        "test": [[10, 11, 12, 13], [14, 15]],
    }
    assert {split: [w["window_id"] for w in part] for split, part in rows.items()} == {
        "train": [0, 1],
        "validation": [2],
        "test": [3, 4],
    }
    assert {split: [w["message_ids"] for w in part] for split, part in rows.items()} == {
        "train": [[0, 1, 0, 1], [0, 0]],
        "validation": [[1, 0, 1]],
        "test": [[0, 1, 0, 1], [0, 1]],
    }


def test_one_alert_makes_its_window_anomalous(store: Store, sixteen_lines: Path) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, train_fraction=0.6)
    windows = windows_of(store, dataset, validation_fraction=0.34)
    rows = [w for part in window_rows(windows).values() for w in part]
    assert [window["is_anomalous"] for window in rows] == [False, True, False, True, False]
    assert [window["alerts"] for window in rows] == [
        [False, False, False, False],
        [True, False],
        [False, False, False],
        [False, False, False, True],
        [False, False],
    ]
    assert [window["session_id"] for window in rows] == [None] * 5
    assert (rows[1]["start_time"], rows[1]["end_time"]) == (
        datetime(1970, 1, 1, 0, 0, 4),
        datetime(1970, 1, 1, 0, 0, 6),
    )


def test_the_manifest_tells_what_was_asked_for_and_what_came_out(
    store: Store, sixteen_lines: Path
) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, train_fraction=0.6)
    results = windows_of(store, dataset, validation_fraction=0.34).results
    assert results["requested"] == {"train": 0.6, "validation_of_train": 0.34}
    assert results["obtained"] == {"train": 6 / 15, "validation": 3 / 15, "test": 6 / 15}
    assert results["splits"]["train"] == {
        "num_windows": 2,
        "num_anomalous": 1,
        "num_lines": 6,
        "num_distinct_windows": 2,
        "longest_window": 4,
    }
    assert results["splits"]["test"]["num_anomalous"] == 1


def test_read_windows_gives_one_split_in_log_order(store: Store, sixteen_lines: Path) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, train_fraction=0.6)
    windows = read_windows(windows_of(store, dataset, validation_fraction=0.34), "test")
    assert windows.window_ids.tolist() == [3, 4]
    assert windows.message_ids == [(0, 1, 0, 1), (0, 1)]
    assert windows.is_anomalous is not None
    assert windows.is_anomalous.tolist() == [True, False]
    assert len(windows) == 2


def test_without_labels_no_window_of_any_split_is_labelled(
    store: Store, sixteen_lines: Path
) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, labels=None)
    windows = windows_of(store, dataset)
    rows = [w for part in window_rows(windows).values() for w in part]
    assert len(rows) == 4  # int(15 * 0.8) = 12 lines and 3 lines
    assert {window["is_anomalous"] for window in rows} == {None}
    assert {window["alerts"] and tuple(window["alerts"]) for window in rows} == {None}
    assert read_windows(windows, "train").is_anomalous is None
    assert read_windows(windows, "test").is_anomalous is None


def test_an_empty_split_without_labels_is_not_labelled_either(
    store: Store, sixteen_lines: Path
) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, labels=None)
    windows = read_windows(windows_of(store, dataset), "validation")
    assert len(windows) == 0
    assert windows.is_anomalous is None


def test_the_length_of_the_windows_is_part_of_what_is_asked_for(
    store: Store, sixteen_lines: Path
) -> None:
    short = labelled_by_line(sixteen_lines, line=LINE, windows={"kind": "count", "length": 1})
    long = labelled_by_line(sixteen_lines, line=LINE, windows={"kind": "count", "length": 100})
    assert len(read_windows(windows_of(store, short), "train")) == 12
    assert len(read_windows(windows_of(store, long), "train")) == 1


def numbered(folder: Path, num_lines: int, *, has_times: bool) -> Path:
    """Lines `n // 100` seconds after 1970, one of ten without a time unless all have one."""
    path = folder / "long.log"
    with path.open("w") as stream:
        for n in range(num_lines):
            stream.write(f"- {n // 100 if has_times or n % 10 else 'noon'} up\n")
    return path


@pytest.mark.parametrize("has_times", [True, False])
@pytest.mark.parametrize(
    "windows", [{"kind": "count", "length": 100}, {"kind": "time", "length_seconds": 1}]
)
def test_a_log_of_many_row_groups_keeps_its_order(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    windows: dict[str, object],
    has_times: bool,
) -> None:
    monkeypatch.setattr(window_artifact, "NUM_ROWS", 7_000)
    monkeypatch.setattr(table_files, "ROW_GROUP_LINES", 4_096)
    dataset = labelled_by_line(
        numbered(tmp_path, 200_000, has_times=has_times), windows=windows, line=LINE
    )
    rows = tables.read(windows_of(store, dataset).path / "split=train", tables.WINDOWS)
    line_numbers = rows["line_numbers"].combine_chunks()
    assert line_numbers.values.to_numpy().tolist() == list(range(160_000))
    lengths = set(line_numbers.value_lengths().to_pylist())
    if has_times or windows["kind"] == "count":
        assert lengths == {100}
    else:  # the first line of each second has the time of the line before it
        assert lengths == {101, 100, 99}


def test_windows_leave_nothing_else_behind_though_they_are_sorted_on_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MEMORY_LIMIT", "60MB")
    sliding = {"kind": "count", "length": 20, "step": 2}
    dataset = labelled_by_line(numbered(tmp_path, 300_000, has_times=True), windows=sliding)
    built = windows_of(store, dataset)
    # 240,000 lines: 1 + (240,000 - 20) / 2 windows of 20 lines.
    assert built.results["splits"]["train"]["num_windows"] == 119_991
    assert built.results["splits"]["train"]["num_lines"] == 119_991 * 20
    names = {path.relative_to(built.path).as_posix() for path in built.path.rglob("*")}
    splits = {f"split={split}" for split in ("train", "validation", "test")}
    files = {name for name in names if re.fullmatch(r"split=[a-z]+/part-\d{4}\.parquet", name)}
    assert names - files == {"manifest.json", *splits}
