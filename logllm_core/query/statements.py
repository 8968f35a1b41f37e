"""Which statements a query may be: those that read and do nothing else."""

import re

import duckdb

from logllm_core.errors import LogLLMError

# Both run text that is no part of the statement, and so was not looked at.
RUN_TEXT = {"json_execute_serialized_sql", "query"}
READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
# What EXPLAIN ANALYZE explains is run, and its own kind of statement tells nothing of that.
EXPLAINED = re.compile(
    r"explain\s+(?:analyze\s+)?(?:\(\s*(?:analyze|format)\b[^()]*\)\s*)?(.*)", re.I | re.S
)
READING = "SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"


def check_reading(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Check that the text is one statement, and that it only reads.

    Raises:
        LogLLMError: it is none, several, or does something else.
        duckdb.Error: it is no SQL.
        UnicodeEncodeError: it is no text.
    """
    statement.encode()  # of half a character DuckDB says that it is no string
    statements = connection.extract_statements(statement)
    if len(statements) != 1:
        has = f"has {len(statements)} statements" if statements else "is empty"
        raise LogLLMError(f"The query {has}. Give one statement in SQL: {READING}.")
    kind, text = statements[0].type, statements[0].query
    if kind == duckdb.StatementType.EXPLAIN and (explained := EXPLAINED.fullmatch(text)):
        inner = connection.extract_statements(explained[1])
        if len(inner) == 1:
            kind, text = inner[0].type, inner[0].query
    if kind == duckdb.StatementType.MULTI:
        raise LogLLMError(
            "A query only reads, but PIVOT makes a type unless it names the values: ON column IN "
            "(value, ...)."
        )
    if kind != duckdb.StatementType.SELECT:
        raise _refusal(kind.name)
    _check_tree(connection, text)


def _check_tree(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """Also WITH may hold a COPY, and DuckDB calls the whole a SELECT."""
    row = connection.execute(
        "with parsed as (select json_serialize_sql(?) as tree) "
        "select tree->>'$.error', tree->>'$..type', tree->>'$..function_name' from parsed",
        [text],
    ).fetchone()
    assert row is not None
    is_refused, types, functions = row
    if is_refused != "false":
        raise _refusal("another statement")
    nodes = {name for name in types if name and name.endswith("_NODE")}
    if others := nodes - READING_NODES:
        raise _refusal(min(others).removesuffix("_NODE").removesuffix("_QUERY"))
    if called := RUN_TEXT & {name.lower() for name in functions if name}:
        raise LogLLMError(
            f"A query cannot call {min(called)}(), which runs a text. Write that text out."
        )


def _refusal(statement: str) -> LogLLMError:
    return LogLLMError(f"A query only reads, found {statement}. Give one statement: {READING}.")
