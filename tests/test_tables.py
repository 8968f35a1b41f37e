from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logllm_core import tables

MESSAGE: dict[str, Any] = {
    "line_number": 7,
    "time": datetime(2005, 6, 3, 22, 42, 50, 363_779),
    "content": "link down",
    "message_id": 3,
    "alert": None,
    "session_ids": ["blk_1", "blk_2"],
}
VOCABULARY = {
    "message_id": [0, 1],
    "text": ["a", "b"],
    "num_lines": [4, 5],
    "first_line_number": [0, 2],
}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "messages.parquet"
    tables.write(path, pa.Table.from_pylist([MESSAGE], tables.MESSAGES), tables.MESSAGES)
    found = tables.read(path, tables.MESSAGES)
    assert found.schema == tables.MESSAGES
    assert found.to_pylist() == [MESSAGE]


def test_columns_are_put_in_order_and_cast_to_the_schema(tmp_path: Path) -> None:
    shuffled = {name: VOCABULARY[name] for name in reversed(list(VOCABULARY))}  # of int64
    tables.write(tmp_path / "v.parquet", pa.table(shuffled), tables.VOCABULARY)
    found = pq.read_schema(tmp_path / "v.parquet")
    assert found.names == tables.VOCABULARY.names
    assert found.field("message_id").type == pa.int32()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_lines": ["many", "few"]},
        {"message_id": [1 << 40, 1]},
        {"text": ["a", None]},
    ],
)
def test_a_column_that_does_not_fit_the_schema_is_not_written(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        tables.write(tmp_path / "v.parquet", pa.table({**VOCABULARY, **changes}), tables.VOCABULARY)
    assert not (tmp_path / "v.parquet").exists()


def test_a_column_that_came_later_is_null_in_a_table_of_before(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        **dict.fromkeys(tables.NEW_PREDICTIONS.names),
        **{"window_id": 0, "log_id": "a", "source": "b", "first_line": 0, "last_line": 3},
        **{"num_lines": 4, "probability": 0.5, "verdict": "normal", "model": "c"},
        "judged": datetime(2026, 1, 2),
    }
    now = pa.Table.from_pylist([{**values, "num_cut_lines": 2}], tables.NEW_PREDICTIONS)
    pq.write_table(now.drop_columns("num_cut_lines"), tmp_path / "a.parquet")
    pq.write_table(now, tmp_path / "b.parquet")
    found = tables.read(tmp_path, tables.NEW_PREDICTIONS)
    assert found.schema == tables.NEW_PREDICTIONS
    assert found["num_cut_lines"].to_pylist() == [None, 2]
    some = tables.read(tmp_path, tables.NEW_PREDICTIONS, ["num_cut_lines", "num_lines"])
    assert some.to_pydict() == {"num_cut_lines": [None, 2], "num_lines": [4, 4]}


def test_a_column_that_is_missing_is_not_written(tmp_path: Path) -> None:
    table = pa.table(VOCABULARY).drop_columns("num_lines")
    with pytest.raises(KeyError):
        tables.write(tmp_path / "v.parquet", table, tables.VOCABULARY)


def test_a_file_with_other_columns_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({**VOCABULARY, "num_lines": ["4", "5"]}).drop_columns("text"), path)
    with pytest.raises(AssertionError, match=r"\['message_id', 'text', 'num_lines'\]"):
        tables.read(path, tables.VOCABULARY)


def windows(*ids: int) -> pa.Table:
    return pa.Table.from_pylist(
        [{"window_id": n, "message_ids": [n, n + 1]} for n in ids], tables.WINDOWS
    )


def test_a_folder_is_read_in_the_order_of_its_files_names(tmp_path: Path) -> None:
    folder = tmp_path / "split=train"
    tables.write(folder / "part-1.parquet", windows(5), tables.WINDOWS)
    tables.write(folder / "part-0.parquet", windows(3, 4), tables.WINDOWS)
    found = tables.read(folder, tables.WINDOWS)
    assert found["window_id"].to_pylist() == [3, 4, 5]
    assert found.schema == tables.WINDOWS  # "split" is no column


def test_columns_may_be_chosen(tmp_path: Path) -> None:
    tables.write(tmp_path / "w.parquet", windows(3), tables.WINDOWS)
    found = tables.read(tmp_path / "w.parquet", tables.WINDOWS, ["message_ids", "window_id"])
    assert found.column_names == ["message_ids", "window_id"]
    assert found.to_pylist() == [{"message_ids": [3, 4], "window_id": 3}]


def test_an_empty_folder_is_an_empty_table(tmp_path: Path) -> None:
    assert tables.read(tmp_path, tables.WINDOWS).schema == tables.WINDOWS
    assert tables.read(tmp_path, tables.WINDOWS, ["window_id"]).column_names == ["window_id"]


def test_the_name_of_a_lists_elements_does_not_matter_but_their_type_does(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("ids", pa.list_(pa.int32()))])
    other_name = pa.list_(pa.field("element", pa.int32()))
    path = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"ids": pa.array([[1]], other_name)}), path)
    tables.check(path, schema)
    pq.write_table(pa.table({"ids": pa.array([[1]], pa.list_(pa.int64()))}), path)
    with pytest.raises(AssertionError, match="ids"):
        tables.check(path, schema)


@pytest.mark.parametrize("missing", tables.CONTRIBUTIONS.names)
def test_a_contribution_is_whole(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "c.parquet"
    row = {"window_id": 7, "message_id": 3, "contribution": -0.5}
    tables.write(path, pa.Table.from_pylist([row]), tables.CONTRIBUTIONS)
    assert tables.read(path, tables.CONTRIBUTIONS).to_pylist() == [row]
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        tables.write(
            path, pa.Table.from_pylist([row, {**row, missing: None}]), tables.CONTRIBUTIONS
        )


def test_a_flipped_bit_in_a_page_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.parquet"
    rows = [
        {"message_id": n, "text": f"message {n}", "num_lines": 1, "first_line_number": n}
        for n in range(1_000)
    ]
    tables.write(path, pa.Table.from_pylist(rows, tables.VOCABULARY), tables.VOCABULARY)
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        tables.read(path, tables.VOCABULARY)
