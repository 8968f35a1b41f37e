"""Windows by session, split at random by a seeded order of the session ids (paper, section V-A)."""

from collections.abc import Sequence

import duckdb

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, SessionLabels, SessionWindows
from logllm_core.logs.windows.splits import Cut, Sizes, split_sizes

_SESSIONS = """
create temp table sessions as
select session_id, min(line_number) as first_line_number
from (select unnest(session_ids) as session_id, line_number from messages)
group by session_id
"""
# The seeded order: MD5 is the same in every version and on every machine, unlike hash().
_PLACED = """
create temp table placed as
with ranked as (
    select
        *,
        row_number() over (order by md5($seed || ':' || session_id), session_id) - 1 as place,
        row_number() over (order by first_line_number, session_id) - 1 as key
    from sessions
)
select
    key::int as key,
    session_id,
    first_line_number,
    (case when place < $num_train then 0 when place < $num_train_all then 1 else 2 end)::tinyint
        as split,
    is_anomalous
from ranked left join labels using (session_id)
"""
_ROWS = """
select
    split, key, message_id, line_number,
    case when $has_labels then alert is not null end as is_alert, time
from (
    select unnest(session_ids) as session_id, message_id, line_number, alert, time from messages
)
join placed using (session_id)
order by key, line_number
"""


def cut(connection: duckdb.DuckDBPyConnection, dataset: Dataset, validation_fraction: float) -> Cut:
    """One window a session; a line belongs to every session that it names.

    Labels of sessions, where there are some, are in the view `session_labels`.
    """
    assert isinstance(dataset.windows, SessionWindows)
    has_session_labels = isinstance(dataset.labels, SessionLabels)
    has_line_labels = dataset.labels is not None and not has_session_labels
    connection.execute("create temp table labels (session_id varchar, is_anomalous boolean)")
    if has_session_labels:
        connection.execute("insert into labels from session_labels")
    connection.execute(_SESSIONS)
    total = _count(connection, "select count(*) from sessions")
    if total == 0:
        wanted = dataset.line.session_pattern or dataset.line.session_field
        raise LogLLMError(
            f"{dataset.name}: no line names a session. Wanted: {wanted}; mend "
            "line.session_pattern or line.session_field in the data set's file."
        )
    sizes = split_sizes(total, dataset.train_fraction, validation_fraction)
    _place(connection, sizes, dataset.windows.seed)
    if has_session_labels:
        _check_all_labelled(connection, dataset, total)
    return Cut(
        query=_ROWS,
        parameters={"has_labels": has_line_labels},
        sizes=sizes,
        has_line_labels=has_line_labels,
        sessions=connection.sql(
            "select session_id, is_anomalous from placed order by key"
        ).to_arrow_table(),
        results={
            "num_labels_without_lines": _count(
                connection, "select count(*) from labels anti join sessions using (session_id)"
            )
        },
    )


def _place(connection: duckdb.DuckDBPyConnection, sizes: Sizes, seed: int) -> None:
    connection.execute(
        _PLACED,
        {"seed": str(seed), "num_train": sizes[0], "num_train_all": sizes[0] + sizes[1]},
    )


def _check_all_labelled(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, total: int
) -> None:
    unlabelled: Sequence[tuple[str, int]] = connection.execute(
        "select session_id, first_line_number from placed where is_anomalous is null order by key"
    ).fetchall()
    if unlabelled:
        session, line = unlabelled[0]
        raise LogLLMError(
            f"{dataset.name}: {len(unlabelled):,} of {total:,} sessions have no label, first "
            f"{session} (line {line:,}). Add them to the label file, or take their lines out."
        )


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
