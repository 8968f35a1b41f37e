import hashlib
from pathlib import Path
from typing import Any

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.store.store import Store
from tests.logs.samples import labelled_by_session, messages_of, published, window_rows, windows_of

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
) -> dict[str, list[dict[str, Any]]]:
    log, labels = write_sessions(folder, more)
    dataset = labelled_by_session(
        log, labels if is_labelled else None, windows={"kind": "session", "seed": seed}
    )
    return window_rows(windows_of(store, dataset, validation_fraction=0.25))


def sessions_of(rows: dict[str, list[dict[str, Any]]]) -> dict[str, set[object]]:
    return {split: {window["session_id"] for window in part} for split, part in rows.items()}


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
    rows = session_windows(store, tmp_path)
    windows = sorted((w for part in rows.values() for w in part), key=lambda w: str(w["window_id"]))
    assert len(windows) == 20
    for window in windows:
        number = BLOCKS.index(str(window["session_id"]))
        assert window["window_id"] == number  # in log order, whatever the split
        assert window["line_numbers"] == [number, number + 20]
        assert window["message_ids"] == [0, 1]
        assert window["is_anomalous"] == (number % 4 == 0)
        assert window["alerts"] is None


def test_a_line_that_names_two_sessions_is_in_both_windows(store: Store, tmp_path: Path) -> None:
    rows = session_windows(store, tmp_path, more="INFO moved blk_3 to blk_5, blk_3 is gone\n")
    holding = {
        window["session_id"]: window["line_numbers"]
        for part in rows.values()
        for window in part
        if 40 in window["line_numbers"]
    }
    assert holding == {"blk_3": [3, 23, 40], "blk_5": [5, 25, 40]}


def test_a_line_that_names_no_session_is_in_no_window(store: Store, tmp_path: Path) -> None:
    rows = session_windows(store, tmp_path, more="INFO idle\nINFO moved blk_3\n")
    sessions = sessions_of(rows)
    assert set().union(*sessions.values()) == set(BLOCKS)
    numbers = [n for part in rows.values() for w in part for n in w["line_numbers"]]
    assert sorted(numbers) == [*range(40), 41]


def test_a_session_without_a_label_is_an_error_that_names_it(store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        LogLLMError, match=r"1 of 21 sessions have no label, first blk_99 \(line 40"
    ):
        session_windows(store, tmp_path, more="INFO opened blk_99\n")


def test_without_a_label_file_no_session_is_labelled(store: Store, tmp_path: Path) -> None:
    rows = session_windows(store, tmp_path, more="INFO opened blk_99\n", is_labelled=False)
    windows = [window for part in rows.values() for window in part]
    assert len(windows) == 21
    assert {window["is_anomalous"] for window in windows} == {None}


def test_labels_of_sessions_that_have_no_lines_are_counted(store: Store, tmp_path: Path) -> None:
    log, labels = write_sessions(tmp_path)
    labels.write_text(labels.read_text() + "blk_100,Normal\nblk_101,Anomaly\n")
    windows = windows_of(store, labelled_by_session(log, labels))
    assert windows.results["num_labels_without_lines"] == 2


def test_a_log_that_names_no_session_is_an_error(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text("INFO idle\n")
    with pytest.raises(LogLLMError, match="no line names a session"):
        windows_of(store, labelled_by_session(log, None))


def test_real_sessions_are_split_in_the_asked_shares_without_overlap(
    store: Store, mirror: Path
) -> None:
    dataset = published("hdfs")
    built = messages_of(store, dataset, mirror=mirror)
    windows = build_windows(store, dataset, built, validation_fraction=0.1)
    by_split = {
        split: {row["session_id"] for row in rows} for split, rows in window_rows(windows).items()
    }
    total = sum(len(sessions) for sessions in by_split.values())
    assert len(set().union(*by_split.values())) == total > 1_000
    assert len(by_split["test"]) == total - int(total * 0.8)
    assert len(by_split["validation"]) == int(int(total * 0.8) * 0.1)
