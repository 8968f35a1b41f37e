from pathlib import Path

import numpy as np
import pytest

from logllm_core.evaluation.measures.alert_types import (
    read_alert_rates,
    read_alert_types,
    recall_by_alert,
    shown_alert,
)
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.window_artifact import build_windows, read_windows
from logllm_core.results.report import AlertGroup, AlertType
from logllm_core.store.store import Store
from tests.evaluation.labelled import prepared
from tests.logs.samples import EPOCH, labelled_by_line, labelled_by_session, messages_of


def test_each_message_has_the_share_of_its_training_lines_that_are_alerts(tmp_path: Path) -> None:
    _, messages, windows = prepared(tmp_path)
    rates = read_alert_rates(messages, windows)
    assert rates is not None
    # "disk failed": twice an alert, once not; "link lost": once; of all 16 lines three.
    expected = {"up": 0.0, "disk failed": 2 / 3, "link lost": 1.0, "fan stopped": 3 / 16}
    texts = read_vocabulary(messages)
    assert set(texts) == set(expected)
    for text, rate in zip(texts, rates, strict=True):
        assert rate == pytest.approx(expected[text])


def test_recall_is_told_for_each_alert_type_and_for_those_unseen_in_training(
    tmp_path: Path,
) -> None:
    _, messages, windows = prepared(tmp_path)
    test = read_windows(windows, "test")
    assert test.is_anomalous is not None
    types = read_alert_types(messages, windows, test.window_ids)
    assert types is not None
    assert types.of_test == [frozenset({"DISK"}), frozenset({"FAN"}), frozenset(), frozenset()]
    assert types.num_train_windows == {"DISK": 2, "NET": 1}
    scores = {"one": np.array([0.9, 0.2, 0.9, 0.1]), "two": np.array([0.5, 0.6, 0.1, 0.1])}
    found = recall_by_alert(types, test.is_anomalous, scores)
    assert found.types == (
        AlertType(
            alert="DISK",
            is_in_training=True,
            num_train_windows=2,
            num_test_windows=1,
            recall={"one": 1.0, "two": 0.0},
        ),
        AlertType(
            alert="FAN",
            is_in_training=False,
            num_train_windows=0,
            num_test_windows=1,
            recall={"one": 0.0, "two": 1.0},
        ),
    )
    assert found.seen == AlertGroup(num_windows=1, recall={"one": 1.0, "two": 0.0})
    assert found.unseen == AlertGroup(num_windows=1, recall={"one": 0.0, "two": 1.0})


def test_a_group_without_windows_has_no_recall(tmp_path: Path) -> None:
    _, messages, windows = prepared(tmp_path)
    test = read_windows(windows, "test")
    types = read_alert_types(messages, windows, test.window_ids)
    assert types is not None
    found = recall_by_alert(types, np.array([True, False, False, False]), {"one": np.ones(4)})
    assert found.unseen == AlertGroup(num_windows=0, recall={"one": None})


def test_sessions_that_are_labelled_as_a_whole_have_neither_rates_nor_types(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.log").write_text("".join(f"INFO blk_{n} received\n" for n in range(10)))
    rows = [f"blk_{n},{'Anomaly' if n % 2 else 'Normal'}" for n in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join(["BlockId,Label", *rows]))
    dataset = labelled_by_session(tmp_path / "own.log", tmp_path / "labels.csv")
    store = Store(data_dir=tmp_path / "data")
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.0)
    assert read_alert_rates(messages, windows) is None
    assert read_alert_types(messages, windows, np.array([1])) is None


def test_an_alert_that_is_no_name_is_cut() -> None:
    assert shown_alert("A" * 80) == "A" * 80
    assert shown_alert("A" * 81) == "A" * 79 + "\N{HORIZONTAL ELLIPSIS}"


def test_a_log_whose_lines_are_labelled_but_never_alerts_has_rates_of_zero(tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text("".join(f"- {EPOCH + n} up\n" for n in range(40)))
    store, dataset = Store(data_dir=tmp_path / "data"), labelled_by_line(log)
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.0)
    rates = read_alert_rates(messages, windows)
    assert rates is not None
    assert rates.tolist() == [0.0]
    types = read_alert_types(messages, windows, read_windows(windows, "test").window_ids)
    assert types is not None
    assert set(types.of_test) == {frozenset()}
