"""Which statements `query` takes: those that read, and nothing that writes by any way round."""

from pathlib import Path

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.query.views import query
from logllm_core.store.store import Store
from tests.query.test_views import prepare

COPY = "copy (select 1) to 'DATA/logllm.duckdb'"
HIDDEN = f"with written as ({COPY}) from written"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("statements")
    store = Store(data_dir=folder / "data")
    prepare(store, folder)
    return store


def contents(store: Store) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in store.data_dir.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("select count(*) from own.messages", (10,)),
        ("from own.vocabulary select text order by all desc", ("link down",)),
        ("with alerts as (select 1) from alerts", (1,)),
        (
            "with recursive n(n) as (select 1 union all select n + 1 from n where n < 3) from n",
            (1,),
        ),
        ("values (1, 'a')", (1, "a")),
        ("table own.vocabulary", (0, "line", 9, 0)),
        ("(select 1) union (select 1)", (1,)),
        ("describe own.vocabulary", ("message_id", "INTEGER", "YES", None, None, None)),
        ("show own.vocabulary", ("message_id", "INTEGER", "YES", None, None, None)),
        ("show databases", ("logllm",)),
        ("select column_name from (summarize own.vocabulary)", ("message_id",)),
        ("pivot own.windows on split in ('train', 'test') using count(*)", None),
        ("explain select 1", None),
        ("EXPLAIN ANALYZE from own.messages", None),
        ("explain (analyze, format json) (select 1)", None),
        ("explain (select 1)", None),
        ("-- why\nselect 1; -- that is all", (1,)),
        ("select 'copy', \"query\" from (select 'json_execute_serialized_sql' as query)", None),
    ],
)
def test_what_reads_is_answered(
    store: Store, statement: str, row: tuple[object, ...] | None
) -> None:
    first = query(store, statement)[1][0]
    assert first == row or row is None


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (COPY, "COPY"),
        (HIDDEN, "COPY"),
        (f"explain analyze {COPY}", "COPY"),
        (f"explain /* */ analyze {COPY}", "refuses the query"),
        (f"explain (analyze) {COPY}", "COPY"),
        (f"explain (analyze, format json) {HIDDEN}", "COPY"),
        (f"explain analyze {HIDDEN}", "COPY"),
        (f"from json_execute_serialized_sql(json_serialize_sql($${HIDDEN}$$))", "cannot call json"),
        (f'from System.Main."Query"($${HIDDEN}$$)', "cannot call query"),
        (f"select ({HIDDEN})", "COPY"),
        ("copy (pivot own.windows on split) to 'DATA/logllm.duckdb'", "names the values"),
        ("pivot own.windows on split", "names the values"),
        ("export database 'DATA/exported'", "EXPORT"),
        ("import database 'DATA'", "PRAGMA"),
        ("attach 'DATA/more.duckdb'", "ATTACH"),
        ("detach logllm", "DETACH"),
        ("install httpfs", "LOAD"),
        ("load httpfs", "LOAD"),
        ("set threads = 1", "SET"),
        ("reset threads", "SET"),
        ("use system", "SET"),
        ("pragma version", "PRAGMA"),
        ("call pragma_version()", "CALL"),
        ("checkpoint", "CALL"),
        ("create temp table mine as select 1", "CREATE"),
        ("drop view own.messages", "DROP"),
        ("insert into own.messages values (1)", "INSERT"),
        ("with gone as (delete from own.messages returning *) from gone", "DELETE"),
        ("begin", "TRANSACTION"),
        ("prepare later as select 1", "PREPARE"),
        ("execute later", "EXECUTE"),
        ("vacuum", "VACUUM"),
        (f"select 1; {COPY}", "2 statements"),
        (f"explain select 1; {COPY}", "2 statements"),
        ("", "is empty"),
        ("-- nothing but a remark", "is empty"),
        ("select '\udce9'", "refuses the query"),
    ],
)
def test_what_does_anything_else_is_one_error_and_changes_nothing(
    store: Store, statement: str, found: str
) -> None:
    before = contents(store)
    with pytest.raises(LogLLMError, match=found):
        query(store, statement.replace("DATA", str(store.data_dir)))
    assert contents(store) == before
