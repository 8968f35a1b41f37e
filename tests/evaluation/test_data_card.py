from pathlib import Path

import numpy as np
import pytest

from logllm_core.evaluation.data_card import f1_ceiling, labels_of_dropped, num_runs, repeats
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.results.data_card import Repeats
from tests.evaluation.labelled import prepared
from tests.evaluation.measures.test_baselines import windows as windows_of
from tests.logs.samples import of_line


def test_the_labels_of_dropped_lines_are_counted(tmp_path: Path) -> None:
    dataset, messages, _ = prepared(tmp_path, "- 12", "KERN 13", "  - 14 ", "KERN", "", "-")
    assert labels_of_dropped(dataset, messages) == {"-": 3, "KERN": 2, "no label": 1}


def test_more_labels_than_fit_are_counted_together(tmp_path: Path) -> None:
    lines = [f"A{n}" for n in range(24)] + ["A0"]
    dataset, messages, _ = prepared(tmp_path, *lines)
    found = labels_of_dropped(dataset, messages)
    assert found is not None
    assert len(found) == 21
    assert (found["A0"], found["other labels"]) == (2, 4)


def test_labels_that_only_the_format_tells_are_not_guessed(tmp_path: Path) -> None:
    _, messages, _ = prepared(tmp_path)
    dataset = of_line({"kind": "pattern", "pattern": "ERROR"}, fields=["level", "content"])
    assert labels_of_dropped(dataset, messages) is None


def test_repeated_windows_are_told_apart_by_the_labels_of_those_they_repeat(
    tmp_path: Path,
) -> None:
    train = windows_of([((1,), False), ((2,), True), ((3,), False), ((3,), True)])
    test = windows_of(
        [((1,), False), ((1,), False), ((1,), True), ((2,), True), ((3,), True), ((4,), True)]
    )
    assert train.is_anomalous is not None
    assert test.is_anomalous is not None
    found = repeats(train, test, train.is_anomalous, test.is_anomalous)
    assert found == Repeats(same_label=3, other_label=1, both_labels=1)


def test_conflicting_labels_of_one_sequence_set_a_ceiling() -> None:
    # Sequence 1: two of three anomalous; sequence 2: one of four. Flagging the first alone finds
    # two, with one false alarm and one missed: F1 4/6. Flagging both: 3 of 3, 4 false alarms, 6/10.
    rows = [((1,), True), ((1,), True), ((1,), False), ((2,), True), *[((2,), False)] * 3]
    test = windows_of([((ids), label) for ids, label in rows])
    assert test.is_anomalous is not None
    assert f1_ceiling(test, test.is_anomalous) == pytest.approx(4 / 6)


def test_without_conflicts_there_is_no_ceiling_but_one(tmp_path: Path) -> None:
    _, _, windows = prepared(tmp_path)
    test = read_windows(windows, "test")
    assert test.is_anomalous is not None
    assert f1_ceiling(test, test.is_anomalous) == 1.0
    assert f1_ceiling(test, ~(test.is_anomalous | True)) is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([], 0), ([0, 0], 0), ([1], 1), ([1, 1, 0, 1], 2), ([0, 1, 1, 0, 0, 1, 0], 2)],
)
def test_stretches_of_anomalous_windows_are_counted(labels: list[int], expected: int) -> None:
    assert num_runs(np.array(labels, dtype=bool)) == expected
