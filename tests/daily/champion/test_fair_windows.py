import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from logllm_core import tables
from logllm_core.daily.champion.fair_windows import TRAINED_ON, newer_windows, note_known
from logllm_core.logs.windows.splits import SPLITS
from logllm_core.store.store import Artifact, Store

START = datetime(2026, 11, 1)
Rows = list[tuple[str | None, float | None]]  # of each window its session and its hour


def windows(store: Store, *splits: Rows, odd_end: int | None = None) -> Artifact:
    """Windows of half an hour: training, validation, test.

    Args:
        odd_end: of each split, the window with a line whose clock was years ahead.
    """

    def build(out_dir: Path) -> dict[str, object]:
        for split, rows in zip(SPLITS, splits, strict=True):
            times = [None if hour is None else START + timedelta(hours=hour) for _, hour in rows]
            half = timedelta(minutes=30)
            columns = {
                "window_id": list(range(len(rows))),
                "session_id": [session for session, _ in rows],
                "message_ids": [[0]] * len(rows),
                "line_numbers": [[0]] * len(rows),
                "alerts": [None] * len(rows),
                "is_anomalous": [False] * len(rows),
                "start_time": times,
                "end_time": [
                    time and time + (half if n != odd_end else timedelta(days=9_000))
                    for n, time in enumerate(times)
                ],
            }
            table = pa.table(columns, schema=tables.WINDOWS)
            tables.write(out_dir / f"split={split}" / "part-0.parquet", table, tables.WINDOWS)
        return {}

    config = {"rows": splits, "odd_end": odd_end}
    return store.reuse_or_build("windows", "own", config=config, inputs={}, version=1, build=build)


def in_order(*hours: float | None) -> Rows:
    return [(None, hour) for hour in hours]


def sessions(*names: str) -> Rows:
    return [(name, 0) for name in names]


def test_windows_that_begin_after_the_training_ended_are_newer(store: Store) -> None:
    known = windows(store, in_order(0, 1), in_order(2), in_order(3, 4))
    newest = windows(store, in_order(0, 1, 2), in_order(3), in_order(2, 2.5, 3, 4, 5))
    # The validation ended at 2:30; what begins in that instant may be of the same second.
    found = newer_windows(newest, [known.path], TRAINED_ON)
    assert found.are_newer.tolist() == [False, False, True, True, True]
    assert found.unknown is None
    assert newer_windows(newest, [known.path], SPLITS).are_newer.tolist() == [False] * 4 + [True]


def test_a_line_whose_clock_was_ahead_does_not_make_all_windows_old(store: Store) -> None:
    known = windows(store, in_order(0, 1, 2), in_order(), in_order(3), odd_end=1)
    newest = windows(store, in_order(0), in_order(), in_order(2, 3, 4))
    assert newer_windows(newest, [known.path], TRAINED_ON).are_newer.tolist() == [False, True, True]


def test_the_latest_training_of_a_line_counts(store: Store) -> None:
    early, late = (
        windows(store, in_order(hour), in_order(), in_order(hour + 1)).path for hour in (1, 3)
    )
    newest = windows(store, in_order(0), in_order(), in_order(2, 3, 4))
    assert newer_windows(newest, [early, late], TRAINED_ON).are_newer.tolist() == [
        False,
        False,
        True,
    ]


def test_sessions_of_a_training_are_known_whatever_their_time(store: Store) -> None:
    known = windows(store, sessions("a", "b"), sessions("c"), sessions("d"))
    newest = windows(store, sessions("a"), sessions(), sessions("b", "c", "d", "e"))
    found = newer_windows(newest, [known.path], TRAINED_ON)
    assert found.are_newer.tolist() == [False, False, True, True]
    assert newer_windows(newest, [known.path], SPLITS).are_newer.tolist() == [False] * 3 + [True]


def test_without_times_or_without_the_known_windows_all_count_and_it_is_told(store: Store) -> None:
    known = windows(store, in_order(0, None), in_order(), in_order(1))
    newest = windows(store, in_order(0), in_order(), in_order(0, 1))
    found = newer_windows(newest, [known.path, store.data_dir / "gone"], TRAINED_ON)
    assert found.are_newer.tolist() == [True, True]
    assert found.unknown == (
        "Known windows could not all be left out: lines have no time; windows gone are gone."
    )


@pytest.mark.parametrize(
    ("train", "validation", "num_rows"),
    [
        (sessions("a", "b"), sessions("c"), 3),
        (in_order(0, 1), in_order(2), 1),
        (in_order(0, None), in_order(2, None), 1),
        (in_order(), in_order(), 0),
    ],
)
def test_windows_that_are_gone_are_known_as_before_where_that_was_noted(
    store: Store, train: Rows, validation: Rows, num_rows: int
) -> None:
    known = windows(store, train, validation, in_order(3))
    newest = windows(store, train, [], train + validation + in_order(2.5, 3))
    if train[:1] and train[0][0]:
        newest = windows(store, train, [], sessions("b", "c", "d"))
    before = newer_windows(newest, [known.path], TRAINED_ON)
    note_known(known)
    shutil.rmtree(known.path)
    after = newer_windows(newest, [known.path], TRAINED_ON)
    assert after.are_newer.tolist() == before.are_newer.tolist()
    assert after.unknown == before.unknown
    (path,) = known.path.parent.glob("*.parquet")
    assert len(tables.read(path, tables.KNOWN_WINDOWS)) == num_rows
    # Of the test split nothing was noted.
    unknown = newer_windows(newest, [known.path], SPLITS).unknown
    assert unknown
    assert f"windows {known.fingerprint} are gone" in unknown


def test_windows_or_notes_that_cannot_be_read_are_told_and_stop_nothing(store: Store) -> None:
    known = windows(store, in_order(0), in_order(), in_order())
    newest = windows(store, in_order(0), in_order(), in_order(0, 1))
    note_known(known)
    (note,) = known.path.parent.glob("*.parquet")
    train = known.path / "split=train" / "part-0.parquet"
    train.write_bytes(bytes(train.stat().st_size))
    note_known(known)  # cannot, and leaves the note that is there
    assert len(tables.read(note, tables.KNOWN_WINDOWS)) == 1
    told = f"Known windows could not all be left out: windows {known.fingerprint} are damaged."
    assert newer_windows(newest, [known.path], TRAINED_ON).unknown == told
    shutil.rmtree(known.path)
    assert newer_windows(newest, [known.path], TRAINED_ON).are_newer.tolist() == [False, True]
    note.write_bytes(b"")
    assert newer_windows(newest, [known.path], TRAINED_ON).unknown == told


def test_an_empty_test_split_has_no_newer_windows(store: Store) -> None:
    known = windows(store, in_order(0), in_order(), in_order())
    newest = windows(store, in_order(0), in_order(), in_order())
    assert newer_windows(newest, [known.path], TRAINED_ON).are_newer.tolist() == []
