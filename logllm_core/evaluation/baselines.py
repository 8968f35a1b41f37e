"""Simple detectors that stand beside the model in every report.

Each is fitted on the same training windows and scores the same test windows. A score above 0.5 is
an alarm. Where one of these is as good as the model, the report says so.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.tree import DecisionTreeClassifier

from logllm_core.evaluation.metrics import Scores
from logllm_core.logs.windows import Windows

Baseline = Callable[[Windows, Windows], Scores]


def count_messages(windows: Windows, num_messages: int) -> csr_matrix:
    """How often each message occurs in each window, [windows, messages]."""
    rows = np.repeat(np.arange(len(windows)), [len(ids) for ids in windows.message_ids])
    columns = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in windows.message_ids])
    shape = (len(windows), num_messages)
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def _always_anomalous(_: Windows, test: Windows) -> Scores:
    return np.ones(len(test))


def _never_seen_message(train: Windows, test: Windows) -> Scores:
    """A message that no normal training window holds is an alarm."""
    assert train.is_anomalous is not None
    normal = {
        message
        for ids, label in zip(train.message_ids, train.is_anomalous, strict=True)
        if not label
        for message in ids
    }
    return np.array([float(bool(set(ids) - normal)) for ids in test.message_ids])


def _fitted(make: Callable[[], Any]) -> Baseline:
    """A scikit-learn classifier on message counts; what training never saw counts for nothing."""

    def score(train: Windows, test: Windows) -> Scores:
        num_messages = 1 + max(max(ids) for part in (train, test) for ids in part.message_ids)
        model = make()
        model.fit(count_messages(train, num_messages), train.is_anomalous)
        chances: Scores = model.predict_proba(count_messages(test, num_messages))[:, 1]
        return chances

    return score


BASELINES: Mapping[str, Baseline] = {
    "always anomalous": _always_anomalous,
    "message never seen in a normal training window": _never_seen_message,
    "logistic regression on message counts": _fitted(
        lambda: make_pipeline(MaxAbsScaler(), LogisticRegression(C=100, max_iter=2_000))
    ),
    "decision tree on message counts": _fitted(lambda: DecisionTreeClassifier(random_state=0)),
}
