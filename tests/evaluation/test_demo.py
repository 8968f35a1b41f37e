"""The demo's log is hard in the ways that it claims."""

from pathlib import Path

import pytest

from logllm_core.evaluation.baselines import BASELINES
from logllm_core.evaluation.metrics import measure
from logllm_core.logs.catalog import find_dataset
from logllm_core.logs.windows import Windows, build_windows, read_windows
from logllm_core.store import Artifact, Store
from tests.logs.samples import messages_of

CATALOG = Path(__file__).resolve().parents[2] / "data" / "datasets"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Windows, Windows]:
    """Messages, training windows and test windows of the data set `demo`."""
    store = Store(data_dir=tmp_path_factory.mktemp("demo"))
    dataset = find_dataset("demo", [CATALOG])
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.1)
    return messages, read_windows(windows, "train"), read_windows(windows, "test")


def test_a_bag_of_messages_does_not_solve_the_demo(
    demo: tuple[Artifact, Windows, Windows],
) -> None:
    _, train, test = demo
    assert test.is_anomalous is not None
    for name, score in BASELINES.items():
        f1 = measure(test.is_anomalous, score(train, test)).f1
        assert f1 is not None
        assert f1 < 0.9, name


def test_messages_appear_in_the_demo_that_training_never_saw(
    demo: tuple[Artifact, Windows, Windows],
) -> None:
    _, train, test = demo
    known = {message for ids in train.message_ids for message in ids}
    new = {message for ids in test.message_ids for message in ids} - known
    # 3 new everyday messages, 2 new wordings, 4 new failures.
    assert len(new) >= 9


def test_the_demo_holds_odd_bytes_and_unparsable_lines_as_bgl_does(
    demo: tuple[Artifact, Windows, Windows],
) -> None:
    results = demo[0].results
    assert results["num_lines_beyond_ascii"] > 0
    assert 0.005 < results["num_unparsed_lines"] / results["num_lines"] < 0.01
