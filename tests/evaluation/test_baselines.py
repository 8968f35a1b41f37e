import numpy as np

from logllm_core.evaluation.baselines import BASELINES, count_messages
from logllm_core.logs.windows import Windows


def windows(rows: list[tuple[tuple[int, ...], bool]]) -> Windows:
    return Windows(
        window_ids=np.arange(len(rows)),
        message_ids=[ids for ids, _ in rows],
        is_anomalous=np.array([label for _, label in rows]),
    )


TRAIN = windows([((0, 1), False), ((1, 0, 0), False), ((2, 0, 1), True), ((0, 2, 2, 1), True)] * 10)
TEST = windows([((0, 0, 1), False), ((1, 2), True), ((3, 0, 1), True)])


def test_messages_are_counted_per_window() -> None:
    assert count_messages(TEST, 4).toarray().tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [1, 1, 0, 1]]


def test_each_baseline_alarms_as_it_says() -> None:
    alarms = {name: (score(TRAIN, TEST) > 0.5).tolist() for name, score in BASELINES.items()}
    assert alarms == {
        "always anomalous": [True, True, True],
        # 2 and 3 are in no normal training window.
        "message never seen in a normal training window": [False, True, True],
        # 3 is in no training window at all, so counts say nothing about it.
        "logistic regression on message counts": [False, True, False],
        "decision tree on message counts": [False, True, False],
    }
