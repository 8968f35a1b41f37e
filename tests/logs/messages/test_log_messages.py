from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.messages.log_messages import message_files
from logllm_core.logs.records import line_blocks
from logllm_core.store import table_files
from logllm_core.store.store import Store
from tests.logs.samples import (
    EPOCH,
    files_left,
    labelled_by_line,
    message_rows,
    messages_of,
    published,
    rows,
)


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
    monkeypatch.setattr(
        line_blocks, "read_blocks", partial(line_blocks.read_blocks, block_bytes=12)
    )
    monkeypatch.setattr(table_files, "ROW_GROUP_LINES", 2)
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
    assert pq.ParquetFile(message_files(built)[0]).num_row_groups == 3
    written_rows = message_rows(built)
    assert [(row["line_number"], row["content"], row["message_id"]) for row in written_rows] == [
        (0, "core 1 up", 0),
        (2, "link down", 1),
        (3, "core 22 up", 0),
        (4, "caf\xe9 3", 2),
        (5, "link down", 1),
    ]
    assert [row["alert"] for row in written_rows] == [None, "KERN", None, None, "KERN"]
    assert [row["time"] and row["time"].second for row in written_rows] == [10, 11, 12, None, 14]
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
        "num_lines_with_controls": 0,
        "num_lines_ended_by_lone_cr": 0,
        "num_lines_cut": 0,
        "num_lines_without_time": 1,
        "num_lines_without_session": None,
        "num_files": 1,
        "preprocessing": "regex",
        "line_slice": None,
        "has_parser_seen_test_lines": False,
    }


def test_a_slice_of_the_log_keeps_raw_line_numbers(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text("".join(f"- {EPOCH} message {'abcdef'[n]}\n" for n in range(6)))
    built = messages_of(store, labelled_by_line(log, line_slice=(2, 4)))
    written_rows = message_rows(built)
    assert [(row["line_number"], row["content"]) for row in written_rows] == [
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
    assert ": 'oops'. Wanted: label epoch" in str(fault.value)
    assert "label epoch content" in str(fault.value)
    folder = store.data_dir / "messages"
    assert not [path for path in files_left(store) if path.is_relative_to(folder)]


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


@pytest.mark.parametrize(
    ("name", "num_lines", "num_distinct_messages"),
    [("bgl", 2_000, 121), ("thunderbird", 2_000, 182)],  # as the reference counts them
)
def test_the_samples_of_real_logs_collapse_to_the_known_number_of_messages(
    store: Store, mirror: Path, name: str, num_lines: int, num_distinct_messages: int
) -> None:
    results = messages_of(store, published(name), mirror=mirror).results
    assert results["num_kept_lines"] == num_lines
    assert results["num_distinct_messages"] == num_distinct_messages
