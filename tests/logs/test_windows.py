import hashlib
import math
from datetime import datetime
from pathlib import Path

import pytest

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import Dataset
from logllm_core.logs.download import obtain_log
from logllm_core.logs.messages import build_messages
from logllm_core.logs.windows import SPLITS, build_windows, read_windows, split_sizes
from logllm_core.store import Artifact, Store
from tests.logs.samples import labelled_by_line, labelled_by_session, messages_of, published, rows

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


def count_windows(store: Store, dataset: Dataset, *, validation_fraction: float) -> Artifact:
    return build_windows(
        store, dataset, messages_of(store, dataset), validation_fraction=validation_fraction
    )


def test_windows_by_count_are_cut_after_the_split(store: Store, sixteen_lines: Path) -> None:
    # 15 kept lines: int(15 * 0.6) = 9 train, of these int(9 * 0.34) = 3 for validation; 6 test.
    dataset = labelled_by_line(sixteen_lines, line=LINE, train_fraction=0.6)
    windows = count_windows(store, dataset, validation_fraction=0.34)
    found = {split: rows(windows.path / f"split={split}", tables.WINDOWS) for split in SPLITS}
    assert {split: [w["line_numbers"] for w in part] for split, part in found.items()} == {
        "train": [[0, 1, 2, 3], [4, 6]],
        "validation": [[7, 8, 9]],
        "test": [[10, 11, 12, 13], [14, 15]],
    }
    assert {split: [w["window_id"] for w in part] for split, part in found.items()} == {
        "train": [0, 1],
        "validation": [2],
        "test": [3, 4],
    }
    assert {split: [w["message_ids"] for w in part] for split, part in found.items()} == {
        "train": [[0, 1, 0, 1], [0, 0]],
        "validation": [[1, 0, 1]],
        "test": [[0, 1, 0, 1], [0, 1]],
    }


def test_one_alert_makes_its_window_anomalous(store: Store, sixteen_lines: Path) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, train_fraction=0.6)
    windows = count_windows(store, dataset, validation_fraction=0.34)
    found = [w for split in SPLITS for w in rows(windows.path / f"split={split}", tables.WINDOWS)]
    assert [window["is_anomalous"] for window in found] == [False, True, False, True, False]
    assert [window["alerts"] for window in found] == [
        [False, False, False, False],
        [True, False],
        [False, False, False],
        [False, False, False, True],
        [False, False],
    ]
    assert [window["session_id"] for window in found] == [None] * 5
    assert (found[1]["start_time"], found[1]["end_time"]) == (
        datetime(1970, 1, 1, 0, 0, 4),
        datetime(1970, 1, 1, 0, 0, 6),
    )


def test_the_manifest_tells_what_was_asked_for_and_what_came_out(
    store: Store, sixteen_lines: Path
) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, train_fraction=0.6)
    results = count_windows(store, dataset, validation_fraction=0.34).results
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
    windows = read_windows(count_windows(store, dataset, validation_fraction=0.34), "test")
    assert windows.window_ids.tolist() == [3, 4]
    assert windows.message_ids == [(0, 1, 0, 1), (0, 1)]
    assert windows.is_anomalous is not None
    assert windows.is_anomalous.tolist() == [True, False]
    assert (len(windows), windows.num_longer_than(2), windows.num_longer_than(4)) == (2, 1, 0)


def test_without_labels_no_window_of_any_split_is_labelled(
    store: Store, sixteen_lines: Path
) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, labels=None)
    windows = count_windows(store, dataset, validation_fraction=0)
    found = [w for split in SPLITS for w in rows(windows.path / f"split={split}", tables.WINDOWS)]
    assert len(found) == 4  # int(15 * 0.8) = 12 lines and 3 lines
    assert {window["is_anomalous"] for window in found} == {None}
    assert {window["alerts"] and tuple(window["alerts"]) for window in found} == {None}
    assert read_windows(windows, "train").is_anomalous is None
    assert read_windows(windows, "test").is_anomalous is None


def test_an_empty_split_without_labels_is_not_labelled_either(
    store: Store, sixteen_lines: Path
) -> None:
    dataset = labelled_by_line(sixteen_lines, line=LINE, labels=None)
    windows = read_windows(count_windows(store, dataset, validation_fraction=0), "validation")
    assert len(windows) == 0
    assert windows.is_anomalous is None


def test_the_length_of_the_windows_is_part_of_what_is_asked_for(
    store: Store, sixteen_lines: Path
) -> None:
    short = labelled_by_line(sixteen_lines, line=LINE, windows={"kind": "count", "length": 1})
    long = labelled_by_line(sixteen_lines, line=LINE, windows={"kind": "count", "length": 100})
    assert len(read_windows(count_windows(store, short, validation_fraction=0), "train")) == 12
    assert len(read_windows(count_windows(store, long, validation_fraction=0), "train")) == 1


BLOCKS = [f"blk_{number}" for number in range(20)]


def write_sessions(folder: Path, more: str = "") -> tuple[Path, Path]:
    """Twenty blocks of two lines each, line n and line n + 20; every fourth is anomalous."""
    log, labels = folder / "own.log", folder / "labels.csv"
    first = "".join(f"INFO opened {block}\n" for block in BLOCKS)
    log.write_text(first + first.replace("opened", "closed") + more)
    labels.write_text(
        "BlockId,Label\n"
        + "".join(f"{b},{'Anomaly' if n % 4 == 0 else 'Normal'}\n" for n, b in enumerate(BLOCKS))
    )
    return log, labels


def session_windows(
    store: Store, folder: Path, *, seed: int = 0, more: str = "", is_labelled: bool = True
) -> dict[str, list[dict[str, object]]]:
    log, labels = write_sessions(folder, more)
    dataset = labelled_by_session(
        log, labels if is_labelled else None, windows={"kind": "session", "seed": seed}
    )
    windows = count_windows(store, dataset, validation_fraction=0.25)
    return {split: rows(windows.path / f"split={split}", tables.WINDOWS) for split in SPLITS}


def sessions_of(found: dict[str, list[dict[str, object]]]) -> dict[str, set[object]]:
    return {split: {window["session_id"] for window in part} for split, part in found.items()}


def test_sessions_are_split_by_the_md5_of_seed_and_session(store: Store, tmp_path: Path) -> None:
    def place(block: str) -> str:
        return hashlib.md5(f"7:{block}".encode(), usedforsecurity=False).hexdigest()

    ranked = sorted(BLOCKS, key=place)  # 16 train, of these 4 for validation; 4 test
    assert sessions_of(session_windows(store, tmp_path, seed=7)) == {
        "train": set(ranked[:12]),
        "validation": set(ranked[12:16]),
        "test": set(ranked[16:]),
    }


def test_another_seed_splits_the_sessions_otherwise(store: Store, tmp_path: Path) -> None:
    first = sessions_of(session_windows(store, tmp_path, seed=0))
    assert first == sessions_of(
        session_windows(Store(data_dir=tmp_path / "again"), tmp_path, seed=0)
    )
    assert first != sessions_of(session_windows(store, tmp_path, seed=1))


def test_every_session_is_one_window_with_its_own_lines_and_label(
    store: Store, tmp_path: Path
) -> None:
    found = session_windows(store, tmp_path)
    windows = sorted(
        (w for part in found.values() for w in part), key=lambda w: str(w["window_id"])
    )
    assert len(windows) == 20
    for window in windows:
        number = BLOCKS.index(str(window["session_id"]))
        assert window["window_id"] == number  # in log order, whatever the split
        assert window["line_numbers"] == [number, number + 20]
        assert window["message_ids"] == [0, 1]
        assert window["is_anomalous"] == (number % 4 == 0)
        assert window["alerts"] is None


def test_a_line_that_names_two_sessions_is_in_both_windows(store: Store, tmp_path: Path) -> None:
    found = session_windows(store, tmp_path, more="INFO moved blk_3 to blk_5, blk_3 is gone\n")
    holding = {
        window["session_id"]: window["line_numbers"]
        for part in found.values()
        for window in part
        if 40 in list(window["line_numbers"])  # type: ignore[call-overload]
    }
    assert holding == {"blk_3": [3, 23, 40], "blk_5": [5, 25, 40]}


def test_a_line_that_names_no_session_is_in_no_window(store: Store, tmp_path: Path) -> None:
    found = session_windows(store, tmp_path, more="INFO idle\nINFO moved blk_3\n")
    sessions = sessions_of(found)
    assert set().union(*sessions.values()) == set(BLOCKS)
    numbers = [n for part in found.values() for w in part for n in list(w["line_numbers"])]  # type: ignore[call-overload]
    assert sorted(numbers) == [*range(40), 41]


def test_a_session_without_a_label_is_an_error_that_names_it(store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        LogLLMError, match=r"1 of 21 sessions have no label, first blk_99 \(line 40"
    ):
        session_windows(store, tmp_path, more="INFO opened blk_99\n")


def test_without_a_label_file_no_session_is_labelled(store: Store, tmp_path: Path) -> None:
    found = session_windows(store, tmp_path, more="INFO opened blk_99\n", is_labelled=False)
    windows = [window for part in found.values() for window in part]
    assert len(windows) == 21
    assert {window["is_anomalous"] for window in windows} == {None}


def test_labels_of_sessions_that_have_no_lines_are_counted(store: Store, tmp_path: Path) -> None:
    log, labels = write_sessions(tmp_path)
    labels.write_text(labels.read_text() + "blk_100,Normal\nblk_101,Anomaly\n")
    windows = count_windows(store, labelled_by_session(log, labels), validation_fraction=0)
    assert windows.results["num_labels_without_lines"] == 2


def test_a_log_that_names_no_session_is_an_error(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text("INFO idle\n")
    with pytest.raises(LogLLMError, match="no line names a session"):
        count_windows(store, labelled_by_session(log, None), validation_fraction=0)


@pytest.mark.parametrize(
    ("total", "train_fraction", "validation_fraction", "expected"),
    [
        (10, 0.8, 0.1, (8, 0, 2)),
        (100, 0.8, 0.1, (72, 8, 20)),
        (7, 0.5, 0.5, (2, 1, 4)),
        (1, 0.8, 0.1, (0, 0, 1)),
        (0, 0.8, 0.1, (0, 0, 0)),
    ],
)
def test_sizes_are_rounded_down_from_the_front(
    total: int, train_fraction: float, validation_fraction: float, expected: tuple[int, int, int]
) -> None:
    assert split_sizes(total, train_fraction, validation_fraction) == expected


@pytest.mark.parametrize(
    ("num_kept_lines", "length", "num_train", "num_test"),
    [
        (4_713_493, 100, 37_708, 9_427),  # BGL
        (5_000_000, 100, 40_000, 10_000),  # Liberty
        (9_999_502, 100, 79_997, 20_000),  # Thunderbird, 498 lines lost
        (9_999_626, 100, 79_997, 20_000),  # and 374
        (575_061, 1, 460_048, 115_013),  # HDFS, by session
    ],
)
def test_the_sizes_are_the_published_ones(
    num_kept_lines: int, length: int, num_train: int, num_test: int
) -> None:
    train, validation, test = split_sizes(num_kept_lines, 0.8, 0)
    assert (math.ceil(train / length), validation, math.ceil(test / length)) == (
        num_train,
        0,
        num_test,
    )


def test_real_sessions_are_split_in_the_asked_shares_without_overlap(
    store: Store, mirror: Path
) -> None:
    dataset = published("hdfs")
    built = build_messages(store, dataset, obtain_log(store, dataset, mirror=mirror))
    windows = build_windows(store, dataset, built, validation_fraction=0.1)
    found = {
        split: {row["session_id"] for row in rows(windows.path / f"split={split}", tables.WINDOWS)}
        for split in SPLITS
    }
    total = sum(len(sessions) for sessions in found.values())
    assert len(set().union(*found.values())) == total > 1_000
    assert len(found["test"]) == total - int(total * 0.8)
    assert len(found["validation"]) == int(int(total * 0.8) * 0.1)
