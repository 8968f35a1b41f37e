from pathlib import Path

import pytest

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.store.store import Store
from tests.logs.samples import (
    BY_SESSION,
    files_left,
    labelled_by_session,
    messages_of,
    rows,
    window_rows,
    windows_of,
)


def with_labels(store: Store, folder: Path, labels: bytes) -> list[dict[str, object]]:
    log, label_path = folder / "own.log", folder / "labels.csv"
    log.write_text("INFO blk_1 received\nINFO blk_2 received\n")
    label_path.write_bytes(labels)
    built = messages_of(store, labelled_by_session(log, label_path))
    return rows(built.path / "session_labels.parquet", tables.SESSION_LABELS)


BOTH = [
    {"session_id": "blk_1", "is_anomalous": False},
    {"session_id": "blk_2", "is_anomalous": True},
]


@pytest.mark.parametrize(
    "labels",
    [
        b"BlockId,Label\nblk_1,Normal\nblk_2,Anomaly\n",
        b"BlockId,Label\r\nblk_1,Normal\r\nblk_2,Anomaly",
        b'Note,Label,BlockId\n"a, b",Normal,blk_1\n,Anomaly,blk_2\n',
        b"BlockId,Label\nblk_1,Normal\nblk_2,Anomaly\nblk_1,Normal\n",  # said twice, the same
    ],
)
def test_sessions_get_their_labels_from_the_csv_file(
    store: Store, tmp_path: Path, labels: bytes
) -> None:
    assert with_labels(store, tmp_path, labels) == BOTH


def test_a_byte_order_mark_is_no_part_of_the_first_columns_name(
    store: Store, tmp_path: Path
) -> None:
    labels = b"\xef\xbb\xbfBlockId,Label\nblk_1,Normal\nblk_2,Anomaly\n"
    assert with_labels(store, tmp_path, labels) == BOTH


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"BlockId,State\nblk_1,Normal\n", "has the columns BlockId, State, but no Label"),
        (b"Block,Label\nblk_1,Normal\n", "has the columns Block, Label, but no BlockId"),
        (b"", "but no BlockId"),
        (b"BlockId,Label\nblk_1,Fine\n", "calls blk_1 'Fine'. Wanted: Normal or Anomaly"),
        (b"BlockId,Label\nblk_2,Normal\nblk_1\n", "line 3 of the label file is cut short"),
        (b"Label,BlockId\nNormal\n", "line 2 of the label file is cut short"),
        (b"BlockId,Label\nblk_1,Normal\nblk_1,Anomaly\n", "labels blk_1 both ways"),
        (b"BlockId,Label,Label\nblk_1,Normal,Anomaly\n", "has 2 columns of the name Label"),
        (b"BlockId,BlockId,Label\nblk_1,blk_2,Normal\n", "has 2 columns of the name BlockId"),
    ],
)
def test_a_label_file_that_cannot_be_used_is_an_error_that_says_why(
    store: Store, tmp_path: Path, labels: bytes, message: str
) -> None:
    with pytest.raises(LogLLMError) as fault:
        with_labels(store, tmp_path, labels)
    assert message in str(fault.value)
    folder = store.data_dir / "messages"
    assert not [path for path in files_left(store) if path.is_relative_to(folder)]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_session_beyond_ascii_is_labelled_where_log_and_labels_hold_the_same_bytes(
    store: Store, tmp_path: Path, encoding: str
) -> None:
    log, label_path = tmp_path / "own.log", tmp_path / "labels.csv"
    log.write_bytes("müller in\nmüller out\nmuller in\n".encode(encoding))
    label_path.write_bytes("BlockId,Label\nmüller,Anomaly\nmuller,Normal\n".encode(encoding))
    line = {"fields": ["user", "content"], "session_field": "user"}
    built = windows_of(store, labelled_by_session(log, label_path, line=line))
    read_rows = [row for windows in window_rows(built).values() for row in windows]
    assert {tuple(row["line_numbers"]): row["is_anomalous"] for row in read_rows} == {
        (0, 1): True,
        (2,): False,
    }


def test_a_label_file_that_is_no_csv_file_is_a_clear_error(store: Store, tmp_path: Path) -> None:
    labels = b'BlockId,Label\n"' + b"x" * 200_000 + b'",Normal\n'  # a quote that never ends
    with pytest.raises(LogLLMError, match="label file is not a CSV file"):
        with_labels(store, tmp_path, labels)


def test_labels_by_session_need_a_label_file(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text("INFO blk_1 received\n")
    dataset = labelled_by_session(log, None, labels=BY_SESSION)
    with pytest.raises(LogLLMError, match=r"no label file is named. Give source.label_path"):
        messages_of(store, dataset)
