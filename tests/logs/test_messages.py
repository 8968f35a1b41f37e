from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs import messages, parsing
from logllm_core.logs.download import obtain_log
from logllm_core.logs.messages import Vocabulary
from logllm_core.store import Store
from tests.logs.samples import (
    EPOCH,
    files_left,
    labelled_by_line,
    labelled_by_session,
    messages_of,
    published,
    rows,
)


def test_ids_follow_the_first_appearance_across_blocks() -> None:
    vocabulary = Vocabulary()
    first = vocabulary.add(pa.array(["b", "a", "b"]), pa.array([4, 6, 7]))
    second = vocabulary.add(pa.array(["c", "a", "d", "c"]), pa.array([8, 9, 12, 13]))
    assert first.to_pylist() == [0, 1, 0]
    assert second.to_pylist() == [2, 1, 3, 2]
    assert vocabulary.table().to_pylist() == [
        {"message_id": 0, "text": "b", "num_lines": 2, "first_line_number": 4},
        {"message_id": 1, "text": "a", "num_lines": 2, "first_line_number": 6},
        {"message_id": 2, "text": "c", "num_lines": 2, "first_line_number": 8},
        {"message_id": 3, "text": "d", "num_lines": 1, "first_line_number": 12},
    ]


def test_an_empty_block_adds_nothing() -> None:
    vocabulary = Vocabulary()
    ids = vocabulary.add(pa.array([], pa.string()), pa.array([], pa.int64()))
    assert (len(ids), ids.type, len(vocabulary)) == (0, pa.int32(), 0)


def test_every_kept_line_is_a_row_and_every_masked_message_stands_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "own.log"
    log.write_bytes(
        b"- 10 core 1 up\n"
        b"no content\n"
        b"KERN 11 link down\n"
        b"- 12 core 22 up\n"
        b"- soon caf\xe9 3\n"
        b"KERN 14 link down\n"
    )
    # Some blocks hold two lines, some one, one only a reject.
    monkeypatch.setattr(parsing, "read_lines", partial(parsing.read_lines, block_bytes=12))
    dataset = labelled_by_line(
        log,
        line={
            "fields": ["label", "epoch", "content"],
            "time_fields": ["epoch"],
            "time_format": "epoch",
            "max_unparsed_fraction": 0.2,
        },
    )
    built = messages_of(store, dataset)
    assert pq.ParquetFile(built.path / "messages.parquet").num_row_groups > 2
    found = rows(built.path / "messages.parquet", tables.MESSAGES)
    assert [(row["line_number"], row["content"], row["message_id"]) for row in found] == [
        (0, "core 1 up", 0),
        (2, "link down", 1),
        (3, "core 22 up", 0),
        (4, "caf\xe9 3", 2),
        (5, "link down", 1),
    ]
    assert [row["alert"] for row in found] == [None, "KERN", None, None, "KERN"]
    assert [row["time"] and row["time"].second for row in found] == [10, 11, 12, None, 14]
    assert rows(built.path / "vocabulary.parquet", tables.VOCABULARY) == [
        {"message_id": 0, "text": "core <*> up", "num_lines": 2, "first_line_number": 0},
        {"message_id": 1, "text": "link down", "num_lines": 2, "first_line_number": 2},
        {"message_id": 2, "text": "caf\xe9 <*>", "num_lines": 1, "first_line_number": 4},
    ]
    assert rows(built.path / "rejects.parquet", tables.REJECTS) == [
        {"line_number": 1, "line": "no content"}
    ]
    assert built.results == {
        "num_lines": 6,
        "num_kept_lines": 5,
        "num_unparsed_lines": 1,
        "num_alert_lines": 2,
        "num_distinct_messages": 3,
        "num_lines_beyond_ascii": 1,
        "num_lines_without_time": 1,
    }


def test_a_slice_of_the_log_keeps_raw_line_numbers(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text("".join(f"- {EPOCH} message {'abcdef'[n]}\n" for n in range(6)))
    built = messages_of(store, labelled_by_line(log, line_slice=(2, 4)))
    found = rows(built.path / "messages.parquet", tables.MESSAGES)
    assert [(row["line_number"], row["content"]) for row in found] == [
        (2, "message c"),
        (3, "message d"),
    ]
    assert built.results["num_lines"] == 2


def test_unparsed_lines_up_to_the_limit_are_kept_apart(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text(f"- {EPOCH} fine\n" * 99 + "oops\n")  # 1 %, the usual limit
    assert messages_of(store, labelled_by_line(log)).results["num_unparsed_lines"] == 1


def test_too_many_unparsed_lines_are_an_error_that_shows_the_first(
    store: Store, tmp_path: Path
) -> None:
    log = tmp_path / "own.log"
    log.write_text(f"- {EPOCH} fine\n" * 97 + "oops\nouch\n" + f"- {EPOCH} fine\n")
    with pytest.raises(LogLLMError, match=r"2 of 100 lines do not match") as fault:
        messages_of(store, labelled_by_line(log))
    assert "limit 1.00%" in str(fault.value)
    assert "first at line 97: 'oops'" in str(fault.value)
    assert "label epoch content" in str(fault.value)
    assert not [path for path in files_left(store) if "messages" in path.parts]


def test_a_log_without_any_parsable_line_is_an_error_whatever_the_limit(
    store: Store, tmp_path: Path
) -> None:
    log = tmp_path / "own.log"
    log.write_text("oops\nouch\n")
    line = {"fields": ["label", "epoch", "content"], "max_unparsed_fraction": 1}
    with pytest.raises(LogLLMError, match="2 of 2 lines do not match"):
        messages_of(store, labelled_by_line(log, line=line))


def test_an_empty_log_is_an_error(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_bytes(b"")
    with pytest.raises(LogLLMError, match=r"own: the log is empty"):
        messages_of(store, labelled_by_line(log))


def test_a_slice_beyond_the_end_of_the_log_is_an_error(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text(f"- {EPOCH} fine\n" * 3)
    with pytest.raises(LogLLMError, match=r"ends before line 1,000, where its line_slice begins"):
        messages_of(store, labelled_by_line(log, line_slice=(1_000, 2_000)))


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
        (b"BlockId,Label\nblk_1\n", "calls blk_1 None"),
        (b"BlockId,Label\nblk_1,Normal\nblk_1,Anomaly\n", "labels blk_1 both ways"),
    ],
)
def test_a_label_file_that_cannot_be_used_is_an_error_that_says_why(
    store: Store, tmp_path: Path, labels: bytes, message: str
) -> None:
    with pytest.raises(LogLLMError) as fault:
        with_labels(store, tmp_path, labels)
    assert message in str(fault.value)
    assert not [path for path in files_left(store) if "messages" in path.parts]


@pytest.mark.parametrize(
    "labels",
    [
        b"BlockId,Label\nblk_\xe9,Normal\n",  # not UTF-8
        b'BlockId,Label\n"' + b"x" * 200_000 + b'",Normal\n',  # a quote that never ends
    ],
)
def test_a_label_file_that_is_no_csv_file_is_a_clear_error(
    store: Store, tmp_path: Path, labels: bytes
) -> None:
    with pytest.raises(LogLLMError, match="label"):
        with_labels(store, tmp_path, labels)


def test_labels_by_session_need_a_label_file(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text("INFO blk_1 received\n")
    values = labelled_by_session(log, tmp_path / "labels.csv").model_dump()
    source = {"kind": "file", "path": log}
    dataset = labelled_by_session(log, None, source=source, labels=values["labels"])
    with pytest.raises(LogLLMError, match=r"no label file is named. Give source.label_path"):
        messages_of(store, dataset)


@pytest.mark.parametrize(
    ("name", "num_lines", "num_distinct_messages"),
    [("bgl", 2_000, 121), ("thunderbird", 2_000, 182)],  # as the reference counts them
)
def test_the_samples_of_real_logs_collapse_to_the_known_number_of_messages(
    store: Store, mirror: Path, name: str, num_lines: int, num_distinct_messages: int
) -> None:
    dataset = published(name)
    raw = obtain_log(store, dataset, mirror=mirror)
    results = messages.build_messages(store, dataset, raw).results
    assert results["num_kept_lines"] == num_lines
    assert results["num_distinct_messages"] == num_distinct_messages
