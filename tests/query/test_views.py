import os
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from loguru import logger

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.query.views import query, refresh_views
from logllm_core.store.store import Artifact, Store
from tests.logs.samples import labelled_by_line, messages_of
from tests.pages.sample_alarms import judged, write_source


def prepare(store: Store, folder: Path, *, name: str = "own", num_lines: int = 10) -> None:
    """A log of numbered lines, the last of them an alert, in windows of four, and its views."""
    log = folder / f"{name}.log"
    lines = [f"- {number} line\n" for number in range(num_lines - 1)]
    log.write_text("".join([*lines, f"KERN {num_lines - 1} link down\n"]))
    dataset = labelled_by_line(log, name=name)
    build_windows(store, dataset, messages_of(store, dataset), validation_fraction=0)
    refresh_views(store)


def ask(store: Store, statement: str) -> list[tuple[object, ...]]:
    return query(store, statement)[1]


def test_the_views_answer_with_what_the_store_holds(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    assert query(store, "select count(*) as num_lines, max(time) as latest from own.messages") == (
        ["num_lines", "latest"],
        [(10, datetime(1970, 1, 1, 0, 0, 9))],
    )
    assert ask(store, "select text, num_lines from own.vocabulary order by message_id") == [
        ("line", 9),
        ("link down", 1),
    ]
    assert ask(store, "select count(*) from own.rejects") == [(0,)]
    assert ask(  # int(10 * 0.8) = 8 lines to train, in windows of 4
        store, "select split, window_id, is_anomalous from own.windows order by window_id"
    ) == [("train", 0, False), ("train", 1, False), ("test", 2, True)]


def test_a_window_leads_back_to_its_lines(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    assert ask(
        store,
        """
        select m.line_number, m.content, m.alert
        from (select unnest(line_numbers) as line_number from own.windows where is_anomalous) w
        join own.messages m using (line_number) order by 1
        """,
    ) == [(8, "line", None), (9, "link down", "KERN")]


def test_what_was_not_made_has_no_view(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    answer = ask(store, "select view_name from duckdb_views() where schema_name = 'own' order by 1")
    assert answer == [("files",), ("messages",), ("rejects",), ("vocabulary",), ("windows",)]


def predict(store: Store, *, num_contributions: int | None) -> None:
    """Predictions for the newest windows, each normal but the last, and what it was flagged by."""
    windows: Any = store.newest("windows", "own")

    def build(out_dir: Path) -> dict[str, object]:
        row = {"window_id": 2, "probability": 0.9, "verdict": "anomalous", "is_anomalous": True}
        part = Path("split=test", "part-0.parquet")
        tables.write(out_dir / part, pa.Table.from_pylist([row]), tables.PREDICTIONS)
        if num_contributions is not None:
            answer = [
                {"window_id": 2, "message_id": message, "contribution": message + 0.5}
                for message in range(num_contributions)
            ]
            table = pa.Table.from_pylist(answer, tables.CONTRIBUTIONS)
            tables.write(out_dir / "contributions" / part, table, tables.CONTRIBUTIONS)
        return {}

    inputs = {"windows": windows}
    store.reuse_or_build("predictions", "own", config={}, inputs=inputs, version=1, build=build)
    refresh_views(store)


def test_contributions_are_a_view_beside_the_predictions(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    predict(store, num_contributions=2)
    assert query(store, "select * from own.contributions order by message_id") == (
        ["window_id", "message_id", "contribution", "split"],
        [(2, 0, 0.5, "test"), (2, 1, 1.5, "test")],
    )
    assert ask(store, "select count(*) from own.predictions") == [(1,)]


def test_verdicts_from_before_a_column_came_are_in_the_view_too(
    store: Store, tmp_path: Path
) -> None:
    prepare(store, tmp_path)
    for name, lacking in (("aa", ["num_cut_lines"]), ("bb", []), ("cc", ["num_cut_lines"])):
        write_source(store, "own", name, [judged(0)], path=f"{name}.log", lacking=lacking)
    refresh_views(store)
    statement = "select num_cut_lines from own.predictions order by 1 nulls first"
    assert ask(store, statement) == [(None,), (None,), (0,)]


def score(store: Store, method: str, windows: Artifact, *, seed: int = 0) -> None:
    """What another detector says of the last window."""

    def build(out_dir: Path) -> dict[str, object]:
        row = {"detector": method, "window_id": 2, "score": 0.75 + seed / 8, "is_alarm": True}
        path = out_dir / "split=test" / "part-0.parquet"
        tables.write(path, pa.Table.from_pylist([row]), tables.SCORES)
        return {}

    config = {"method": method, "seed": seed}
    inputs = {"windows": windows}
    store.reuse_or_build("detectors", "own", config=config, inputs=inputs, version=1, build=build)
    refresh_views(store)


def test_each_detector_has_the_scores_that_were_asked_for_last(
    store: Store, tmp_path: Path
) -> None:
    prepare(store, tmp_path, num_lines=20)
    before: Any = store.newest("windows", "own")
    score(store, "rapid", before)
    prepare(store, tmp_path)
    windows: Any = store.newest("windows", "own")
    for seed in (0, 1, 0):
        score(store, "cnn", windows, seed=seed)
    score(store, "deeplog", windows, seed=1)
    # Nothing of RAPID: it judged other windows than the newest.
    assert query(store, "select * from own.scores order by detector") == (
        ["detector", "window_id", "score", "is_alarm", "split"],
        [("cnn", 2, 0.75, True, "test"), ("deeplog", 2, 0.875, True, "test")],
    )


def test_a_view_may_be_empty(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    predict(store, num_contributions=0)
    assert ask(store, "select * from own.contributions") == []


def test_predictions_of_an_older_version_have_no_contributions_and_no_warning(
    store: Store, tmp_path: Path
) -> None:
    warnings: list[str] = []
    logger.add(warnings.append, level="WARNING")
    prepare(store, tmp_path)
    predict(store, num_contributions=None)
    assert ask(store, "select count(*) from own.predictions") == [(1,)]
    with pytest.raises(LogLLMError, match="contributions"):
        ask(store, "select * from own.contributions")
    assert not warnings


def test_a_refresh_shows_the_newest_artifact(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path, num_lines=10)
    prepare(store, tmp_path, num_lines=20)
    assert ask(store, "select count(*) from own.messages") == [(20,)]
    prepare(store, tmp_path, num_lines=10)  # reused, and so the newest again
    assert ask(store, "select count(*) from own.messages") == [(10,)]


def test_every_data_set_has_its_own_views(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path, name="one", num_lines=10)
    prepare(store, tmp_path, name="two", num_lines=20)
    assert ask(
        store,
        "select (select count(*) from one.messages), (select count(*) from two.messages)",
    ) == [(10, 20)]


@pytest.mark.parametrize("name", ["my-logs_2", "select", "x--y", "main"])
def test_a_data_set_may_have_an_odd_name(store: Store, tmp_path: Path, name: str) -> None:
    prepare(store, tmp_path, name=name)
    assert ask(store, f'select count(*) from "{name}".messages') == [(10,)]
    assert ask(store, f'select count(*) from "{name}".windows') == [(3,)]


@pytest.mark.parametrize("name", ["temp", "system", "information_schema", "pg_catalog", "logllm"])
def test_a_name_that_duckdb_has_for_itself_is_refused_by_the_catalog_or_works(
    store: Store, tmp_path: Path, name: str
) -> None:
    try:
        labelled_by_line(tmp_path / "own.log", name=name)
    except LogLLMError:
        return
    prepare(store, tmp_path, name=name)
    assert ask(store, f'select count(*) from "{name}".messages') == [(10,)]


@pytest.mark.parametrize(
    "folder",
    [
        "it's ours",
        'a "b"',
        "100%",
        "{a,b}",
        "st*r",
        "a[1]b",
        "caf\xe9",
        "why?",
        "a?b=c",
        "~",
        "a\nb",
    ],
)
def test_the_data_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    store = Store(data_dir=tmp_path / folder)
    prepare(store, tmp_path)
    assert ask(store, "select count(*) from own.messages") == [(10,)]
    assert ask(store, "select count(*) from own.windows") == [(3,)]


@pytest.mark.parametrize(
    ("folder", "words"), [("a\\b", "holds a backslash"), (os.fsdecode(b"caf\xe9"), "not UTF-8")]
)
def test_a_data_folder_that_duckdb_cannot_name_is_one_error(
    tmp_path: Path, folder: str, words: str
) -> None:
    store = Store(data_dir=tmp_path / folder)
    store.data_dir.mkdir()
    with pytest.raises(LogLLMError, match=words):
        refresh_views(store)
    with pytest.raises(LogLLMError, match=words):
        query(store, "select 1")


def test_an_open_connection_keeps_answering_while_the_views_are_replaced(
    store: Store, tmp_path: Path
) -> None:
    prepare(store, tmp_path)
    with duckdb.connect(store.data_dir / "logllm.duckdb", read_only=True) as reader:
        for _ in range(3):
            refresh_views(store)
            answer = reader.execute("select count(*) from own.messages").fetchall()
            assert answer == [(10,)]


def test_a_refresh_replaces_the_file_and_never_writes_into_it(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    path = store.data_dir / "logllm.duckdb"
    with path.open("rb") as old:
        before = old.read()
        prepare(store, tmp_path, name="more")
        assert not os.path.samestat(os.fstat(old.fileno()), path.stat())
        old.seek(0)
        assert old.read() == before != path.read_bytes()


def test_a_refresh_leaves_nothing_beside_the_file(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    assert refresh_views(store) == store.data_dir / "logllm.duckdb"
    assert [path.name for path in store.data_dir.iterdir() if path.is_file()] == ["logllm.duckdb"]


def test_an_empty_store_has_no_views(store: Store) -> None:
    store.data_dir.mkdir()
    refresh_views(store)
    answer = ask(store, "select view_name from duckdb_views() where not internal")
    assert answer == [("made_for",)]


def test_a_query_before_anything_is_prepared_is_an_error_that_says_what_to_do(
    store: Store,
) -> None:
    with pytest.raises(LogLLMError, match=r"There is no .*logllm.duckdb yet. Prepare a data set"):
        query(store, "select 1")


@pytest.mark.parametrize(
    "statement",
    [
        "selekt 1",
        "select * from own.nothing",
        "select * from elsewhere.messages",
        "create table own.mine as select 1",
        "drop view own.messages",
        "",
        "-- nothing but a remark",
    ],
)
def test_a_query_that_cannot_be_answered_is_a_clear_error(
    store: Store, tmp_path: Path, statement: str
) -> None:
    prepare(store, tmp_path)
    with pytest.raises(LogLLMError):
        query(store, statement)
    assert ask(store, "select count(*) from own.messages") == [(10,)]


def test_files_that_are_gone_are_a_clear_error(store: Store, tmp_path: Path) -> None:
    prepare(store, tmp_path)
    artifact: Any = store.newest("messages", "own")
    (artifact.path / "messages" / "part-00000000-0000.parquet").unlink()
    with pytest.raises(LogLLMError, match="DuckDB refuses the query"):
        query(store, "select * from own.messages")
