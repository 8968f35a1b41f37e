"""The pipeline against its plain statement, on real logs and on logs of any kind."""

import csv
import io
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.sources.raw_log import log_files, obtain_log, open_file
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.store.store import Store
from tests.logs.plain import mask_as_the_reference, plain_prepare
from tests.logs.samples import (
    BY_SESSION,
    as_prepared,
    labelled_by_line,
    lines_as_python_reads_them,
    messages_of,
    published,
)

AS_ZERO = str.maketrans("123456789", "0" * 9)


def mask_by_shape() -> Callable[[str], str]:
    """The reference's masking, stated once for messages that differ only in their digits.

    No rule tells one digit from another and none leaves one; to state each would take ten seconds.
    """
    remembered = cache(mask_as_the_reference)
    return lambda content: remembered(content.translate(AS_ZERO))


@pytest.mark.parametrize(
    ("name", "windows"),
    [
        ("bgl", {"kind": "count", "length": 100}),
        ("bgl", {"kind": "count", "length": 20, "step": 7}),
        ("bgl", {"kind": "time", "length_seconds": 3_600}),
        ("thunderbird", {"kind": "count", "length": 100}),
        ("thunderbird", {"kind": "time", "length_seconds": 60, "step_seconds": 20}),
        pytest.param("hdfs", {"kind": "session", "seed": 3}, marks=pytest.mark.slow),
    ],
)
def test_every_line_and_window_of_real_logs_is_as_stated(
    store: Store, mirror: Path, name: str, windows: dict[str, Any]
) -> None:
    values = {**published(name).model_dump(), "windows": windows}
    dataset = Dataset.parse(values, origin="a test's data set")
    built = messages_of(store, dataset, mirror=mirror)
    raw = obtain_log(store, dataset, mirror=mirror)
    with open_file(raw, log_files(raw)[0]) as stream:
        lines = lines_as_python_reads_them(stream.read())
    expected = plain_prepare(
        dataset,
        lines,
        session_labels=labels_of_the_mirror(mirror) if name == "hdfs" else None,
        validation_fraction=0.1,
        mask=mask_by_shape(),
    )
    prepared = as_prepared(built, build_windows(store, dataset, built, validation_fraction=0.1))
    assert len(prepared.messages) >= 2_000
    # Piece by piece: pytest would take minutes to tell how two logs differ.
    assert prepared.vocabulary == expected.vocabulary
    assert prepared.rejects == expected.rejects
    is_same = [
        mine == stated for mine, stated in zip(prepared.messages, expected.messages, strict=True)
    ]
    assert all(is_same)
    for split, stated_windows in expected.windows.items():
        mine = prepared.windows[split]
        assert all(w == stated for w, stated in zip(mine, stated_windows, strict=True))


def labels_of_the_mirror(mirror: Path) -> dict[str, bool]:
    with zipfile.ZipFile(mirror / "HDFS_v1.zip") as archive:
        text = archive.read("preprocessed/anomaly_label.csv").decode()
    return {row["BlockId"]: row["Label"] == "Anomaly" for row in csv.DictReader(io.StringIO(text))}


# Logs of any kind: a good line, then whatever.
ENDS = st.sampled_from([b"\n"] * 6 + [b"\r\n", b"\r", b"\n\n", b"\r\r\n"])
EPOCHS = st.sampled_from([b"0", b"9", b"10", b"59", b"60", b"61", b"3600", b"99999999999", b"noon"])
CONTENTS = st.lists(
    st.sampled_from(
        [
            *(b"up", b"down", b"blk_1", b"blk_-2", b"blk_3 blk_1", b"10.0.0.1:80", b"True"),
            *(b"\xe9", b"\xa0", b"\x85", b"\x00", b"/a/b", b"core.7", b"Jan 1 x", b"one\xe9"),
            *(b"....", b"a@b-c"),
        ]
    )
    | st.binary(max_size=6),
    min_size=1,
    max_size=4,
).map(b" ".join)
GOOD_LINES = st.tuples(st.sampled_from([b"-", b"-", b"KERN"]), EPOCHS, CONTENTS).map(b" ".join)
RAW_LOGS = st.lists(st.tuples(GOOD_LINES | st.binary(max_size=8), ENDS), max_size=40).map(
    lambda pairs: b"- 0 blk_1 begins\n" + b"".join(line + end for line, end in pairs)
)
LENGTHS = st.integers(1, 7)
COUNT_WINDOWS = LENGTHS.flatmap(
    lambda length: st.fixed_dictionaries(
        {
            "kind": st.just("count"),
            "length": st.just(length),
            "step": st.none() | st.integers(1, length),
        }
    )
)
TIME_WINDOWS = st.sampled_from([(1, None), (10, None), (60, 10), (60, 60), (7_200, 1_800)]).map(
    lambda pair: {"kind": "time", "length_seconds": pair[0], "step_seconds": pair[1]}
)
SESSION_WINDOWS = st.integers(0, 3).map(lambda seed: {"kind": "session", "seed": seed})
FIELDS = {"fields": ("label", "epoch", "content")}
PATTERN = {"pattern": r"(?P<label>[^ ]+) (?P<epoch>[^ ]+) (?P<content>.*)"}
LABELS: list[dict[str, Any] | None] = [
    {"kind": "field"},
    {"kind": "pattern", "pattern": "down|KERN"},
    None,
]


def compare(raw: bytes, cut: dict[str, Any], validation_fraction: float, **changes: Any) -> None:
    """Build a log in a folder of its own and hold it against the statement."""
    with tempfile.TemporaryDirectory() as folder:
        log, store = Path(folder) / "own.log", Store(data_dir=Path(folder) / "data")
        log.write_bytes(raw)
        line = {**cut, "time_fields": ("epoch",), "time_format": "epoch"}
        line["max_unparsed_fraction"] = 1
        if changes["windows"]["kind"] == "session":
            line["session_pattern"] = r"blk_-?\d"
        session_labels = None
        if changes["labels"] == BY_SESSION:
            session_labels = {f"blk_{n}": n % 2 == 0 for n in range(-9, 10)}
            rows = [
                f"{s},{BY_SESSION['anomalous' if b else 'normal']}"
                for s, b in session_labels.items()
            ]
            label_path = Path(folder) / "labels.csv"
            label_path.write_text("BlockId,Label\n" + "\n".join(rows))
            paths = {"path": str(log), "label_path": str(label_path)}
            changes["source"] = {"kind": "file", **paths}
        dataset = labelled_by_line(log, line=line, **changes)
        built = messages_of(store, dataset)
        windows = build_windows(store, dataset, built, validation_fraction=validation_fraction)
        assert as_prepared(built, windows) == plain_prepare(
            dataset,
            lines_as_python_reads_them(raw),
            session_labels=session_labels,
            validation_fraction=validation_fraction,
        )


@settings(max_examples=30, deadline=None, database=None)
@given(
    raw=RAW_LOGS,
    cut=st.sampled_from([FIELDS, PATTERN]),
    windows=COUNT_WINDOWS | TIME_WINDOWS | SESSION_WINDOWS,
    labels=st.sampled_from(LABELS),
    train_fraction=st.sampled_from([0.5, 0.8, 0.29]),
    validation_fraction=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_any_log_is_prepared_as_stated(
    raw: bytes, cut: dict[str, Any], validation_fraction: float, **changes: Any
) -> None:
    compare(raw, cut, validation_fraction, **changes)


@settings(max_examples=10, deadline=None, database=None)
@given(raw=RAW_LOGS, windows=SESSION_WINDOWS)
def test_any_log_with_a_file_of_session_labels_is_prepared_as_stated(
    raw: bytes, windows: dict[str, Any]
) -> None:
    compare(raw, FIELDS, 0.5, windows=windows, labels=BY_SESSION)
