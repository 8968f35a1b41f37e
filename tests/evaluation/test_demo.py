"""The demo's log is hard in the ways that it claims."""

from pathlib import Path

import numpy as np
import pytest

from logllm_core import tables
from logllm_core.evaluation.measures.baselines import BASELINES, fit_baselines
from logllm_core.evaluation.measures.metrics import judge
from logllm_core.evaluation.measures.training_bags import Evidence
from logllm_core.logs.catalog.catalog import find_dataset
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.window_artifact import Windows, build_windows, read_windows
from logllm_core.store.store import Artifact, Store
from tests.logs.samples import messages_of

CATALOG = Path(__file__).resolve().parents[2] / "data" / "datasets"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Evidence, Windows]:
    """Messages, what training windows tell and test windows of the data set `demo`."""
    store = Store(data_dir=tmp_path_factory.mktemp("demo"))
    dataset = find_dataset("demo", [CATALOG])
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.1)
    # The encoder's vectors are left out: they need a model, and see more than messages' ids.
    evidence = Evidence(
        train=read_windows(windows, "train"),
        alert_rates=alert_rates(windows, len(read_vocabulary(messages))),
        vectors_ME=None,
    )
    return messages, evidence, read_windows(windows, "test")


def alert_rates(windows: Artifact, num_messages: int) -> np.ndarray:
    """By message: the share of its lines in training windows that are alerts, or NaN."""
    lines = np.zeros((num_messages, 2))
    columns = ["message_ids", "alerts"]
    for row in tables.read(windows.path / "split=train", tables.WINDOWS, columns).to_pylist():
        for message, is_alert in zip(row["message_ids"], row["alerts"], strict=True):
            lines[message] += 1, is_alert
    with np.errstate(invalid="ignore"):
        return lines[:, 1] / lines[:, 0]


def test_a_bag_of_messages_does_not_solve_the_demo(
    demo: tuple[Artifact, Evidence, Windows],
) -> None:
    _, evidence, test = demo
    assert test.is_anomalous is not None
    found = fit_baselines(evidence)
    assert len(found.scorers) == len(BASELINES) - 1
    for name, score in found.scorers.items():
        f1 = judge(test.is_anomalous, score(test)).f1
        assert f1 is not None
        assert f1 < 0.9, name


def test_messages_appear_in_the_demo_that_training_never_saw(
    demo: tuple[Artifact, Evidence, Windows],
) -> None:
    _, evidence, test = demo
    known = {message for ids in evidence.train.message_ids for message in ids}
    new = {message for ids in test.message_ids for message in ids} - known
    # 3 new everyday messages, 2 new wordings, 4 new failures.
    assert len(new) >= 9


def test_the_demo_holds_odd_bytes_and_unparsable_lines_as_bgl_does(
    demo: tuple[Artifact, Evidence, Windows],
) -> None:
    results = demo[0].results
    assert results["num_lines_beyond_ascii"] > 0
    assert 0.005 < results["num_unparsed_lines"] / results["num_lines"] < 0.01
