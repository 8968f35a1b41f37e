import time
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from logllm_core import tables
from logllm_core.daily.ledger import cursors
from logllm_core.daily.ledger import ledger as ledgers
from logllm_core.daily.ledger.cursors import Look, new_parts
from logllm_core.daily.ledger.ledger import Ledger, register, written
from logllm_core.errors import LogLLMError
from logllm_core.query.views import query, refresh_views
from logllm_core.store.store import Store


def verdicts(first: int, num_windows: int) -> pa.Table:
    rows = [
        {
            "window_id": number,
            "log_id": "0" * 16,
            "source": "app.log",
            "first_line": number * 4,
            "last_line": number * 4 + 3,
            "num_lines": 4,
            "probability": 0.25,
            "verdict": "normal",
            "model": "f" * 16,
            "judged": datetime(2026, 1, 2, 3, 4, 5),
        }
        for number in range(first, first + num_windows)
    ]
    return pa.Table.from_pylist(rows, tables.NEW_PREDICTIONS)


def ids(ledger: Ledger, first: int = 0) -> list[int]:
    parts = written(ledger.folder, ledger.cursor, first)
    return [number for table in parts for number in table["window_id"].to_pylist()]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(data_dir=tmp_path)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    new_dir = cursors.new_dir(store, "own")
    new_dir.mkdir(parents=True)
    return Ledger(register(new_dir, "app.log", {"offset": 0}))


def commit(ledger: Ledger, num_windows: int, *, pending: pa.Table | None = None) -> None:
    first = ledger.cursor.num_windows
    ledger.commit(
        verdicts(first, num_windows),
        place={"offset": (first + num_windows) * 100},
        state={"num_windows": first + num_windows},
        pending=pending,
    )


def test_verdicts_and_place_are_there_together_for_the_next_reader(ledger: Ledger) -> None:
    waiting = pa.table({"number": [9], "text": ["open"]})
    commit(ledger, 3, pending=waiting)
    commit(ledger, 2, pending=waiting)
    again = Ledger(ledger.folder)
    assert again.cursor.place == {"offset": 500}
    assert again.cursor.state == {"num_windows": 5}
    assert again.pending == waiting
    assert ids(again) == [0, 1, 2, 3, 4]
    assert ids(again, first=2) == [2, 3, 4]
    assert ids(again, first=4) == [4]
    assert ids(again, first=5) == []
    assert names(ledger.folder) == again.cursor.names


def test_a_commit_without_verdicts_moves_the_place(ledger: Ledger) -> None:
    commit(ledger, 0, pending=pa.table({"number": [1]}))
    commit(ledger, 0)
    assert Ledger(ledger.folder).pending is None
    assert names(ledger.folder) == {"cursor.json"}


@pytest.mark.parametrize("step", ["write_cursor", "pq.write_table", "tables.write"])
def test_what_is_cut_off_before_the_cursor_does_not_count(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    commit(ledger, 2, pending=pa.table({"number": [8]}))
    before = ledger.cursor

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{ledgers.__name__}.{step}", die)
    with pytest.raises(KeyboardInterrupt):
        commit(ledger, 2, pending=pa.table({"number": [16]}))
    monkeypatch.undo()
    again = Ledger(ledger.folder)
    assert again.cursor == before
    again.remove_leftovers()
    assert names(ledger.folder) == before.names
    commit(again, 2)
    assert ids(again) == [0, 1, 2, 3]


def test_what_was_told_is_known_after_a_restart(ledger: Ledger) -> None:
    commit(ledger, 3)
    ledger.note_told()
    commit(ledger, 2)
    assert Ledger(ledger.folder).cursor.num_told == 3


def test_many_small_tables_become_one_in_the_same_order(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MAX_PARTS", 4)
    monkeypatch.setattr(ledgers, "SIZES", (3, 10))
    for num_windows in (12, 1, 1, 1, 1):  # the first is large; the others are made one, of 4
        commit(ledger, num_windows)
    assert [part.num_windows for part in ledger.cursor.parts] == [12, 4]
    for _ in range(11):
        commit(ledger, 1)
    assert [part.num_windows for part in ledger.cursor.parts] == [12, 4, 4, 4, 1, 1, 1]
    commit(ledger, 1)  # four of medium size by now, which are made one with the next small one
    commit(ledger, 1)
    assert [part.num_windows for part in ledger.cursor.parts] == [12, 17]
    assert ids(ledger) == list(range(29))
    assert ids(ledger, first=14) == list(range(14, 29))


def test_merged_tables_stay_for_those_who_read_them(
    ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MAX_PARTS", 4)
    for _ in range(3):
        commit(ledger, 1)
    before = new_parts(store, "own")
    commit(ledger, 1)
    assert len(new_parts(store, "own")) == 1
    assert all(path.is_file() for path in before)
    Ledger(ledger.folder).remove_leftovers()
    assert all(path.is_file() for path in before)
    later = time.time() + ledgers.RETIRED_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    for _ in range(3):  # the next merger removes them
        commit(ledger, 1)
    assert not any(path.is_file() for path in before)
    assert ids(ledger) == list(range(7))
    assert names(ledger.folder) == ledger.cursor.names


def test_a_finished_look_is_remembered_for_each_path_and_few_of_them(
    ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "app.log"
    path.write_text("one\n")
    first = Look.at(path)
    ledger.note_finished(first)
    path.write_text("one\ntwo\n")
    ledger.note_finished(Look.at(path))
    assert Ledger(ledger.folder).cursor.looks == (Look.at(path),)
    for number in range(30):
        ledger.note_finished(replace(first, path=f"/{number}"))
    assert len(ledger.cursor.looks) == ledgers.NUM_LOOKS


@pytest.mark.parametrize("content", ["", "{", "[]", '{"source": 1}', "\x00"])
def test_a_damaged_cursor_is_a_clear_error(ledger: Ledger, content: str) -> None:
    (ledger.folder / "cursor.json").write_text(content)
    with pytest.raises(LogLLMError, match=r"cursor.json is damaged: .*restore it, or delete"):
        Ledger(ledger.folder)


def ask(store: Store, statement: str) -> list[Any]:
    return query(store, statement)[1]


def test_verdicts_of_new_logs_are_in_the_view_of_predictions(ledger: Ledger, store: Store) -> None:
    commit(ledger, 2)
    commit(ledger, 1)
    refresh_views(store)
    assert ask(store, "select window_id, split, source from own.predictions order by all") == [
        (0, "new", "app.log"),
        (1, "new", "app.log"),
        (2, "new", "app.log"),
    ]
    assert ask(store, "select typeof(lines) from own.predictions limit 1") == [
        ('STRUCT(line_number BIGINT, "content" VARCHAR, contribution DOUBLE)[]',)
    ]


def test_a_damaged_cursor_leaves_the_other_views_alone(ledger: Ledger, store: Store) -> None:
    commit(ledger, 2)
    (ledger.folder / "cursor.json").write_text("{")
    refresh_views(store)
    with pytest.raises(LogLLMError, match="predictions"):
        ask(store, "select * from own.predictions")


def test_a_cursor_is_plain_json(ledger: Ledger) -> None:
    commit(ledger, 1)
    assert cursors.read_cursor(ledger.folder) == ledger.cursor
    assert asdict(ledger.cursor)["parts"][0]["num_windows"] == 1
