from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from logllm_core.evaluation.measures.novelty import subsets
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.results.report import Subset, SubsetFigures, UnseenSubsets
from tests.evaluation.labelled import prepared


def test_windows_that_training_does_not_know_are_measured_alone(tmp_path: Path) -> None:
    _, _, windows = prepared(tmp_path)
    train, test = read_windows(windows, "train"), read_windows(windows, "test")
    assert test.is_anomalous is not None
    # The second window is found, the third is a false alarm, which ranks below it.
    found = subsets(train, test, test.is_anomalous, {"one": np.array([0.1, 0.9, 0.8, 0.7])})
    sequences, sets = found.unseen_sequences, found.unseen_message_sets
    assert (sequences.num_windows, sequences.num_anomalous) == (2, 1)
    assert asdict(sequences.detectors["one"]) == pytest.approx(
        {"precision": 1 / 2, "recall": 1.0, "f1": 2 / 3, "pr_auc": 1.0}
    )
    assert (sets.num_windows, sets.num_anomalous) == (1, 1)
    assert sets.detectors["one"] == SubsetFigures(precision=1.0, recall=1.0, f1=1.0, pr_auc=None)


def test_where_all_is_known_nothing_is_claimed(tmp_path: Path) -> None:
    _, _, windows = prepared(tmp_path)
    train = read_windows(windows, "train")
    assert train.is_anomalous is not None
    found = subsets(train, train, train.is_anomalous, {"one": np.ones(len(train))})
    nothing = SubsetFigures(precision=None, recall=None, f1=None, pr_auc=None)
    empty = Subset(num_windows=0, num_anomalous=0, detectors={"one": nothing})
    assert found == UnseenSubsets(unseen_sequences=empty, unseen_message_sets=empty)
