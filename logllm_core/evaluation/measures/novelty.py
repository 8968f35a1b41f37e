"""How a detector does on windows that it cannot know by heart.

Logs repeat themselves: on HDFS, 95 % of the sessions are the same sequence of messages as another.
A test window that repeats a training window asks for memory only, so the others are measured alone.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from logllm_core.evaluation.measures.metrics import Labels, Scores, judge, rank
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.store.store import Json


def subsets(
    train: Windows, test: Windows, is_anomalous: Labels, scores: Mapping[str, Scores]
) -> dict[str, Json]:
    """Figures on test windows whose sequence, and whose set, of messages training lacks."""
    chosen = {
        "unseen_sequences": _are_unseen(train.message_ids, test.message_ids),
        "unseen_message_sets": _are_unseen(
            list(map(frozenset, train.message_ids)), list(map(frozenset, test.message_ids))
        ),
    }
    return {
        name: {
            "num_windows": int(is_chosen.sum()),
            "num_anomalous": int(is_anomalous[is_chosen].sum()),
            "detectors": {
                detector: _figures(is_anomalous[is_chosen], found[is_chosen])
                for detector, found in scores.items()
            },
        }
        for name, is_chosen in chosen.items()
    }


def _are_unseen(train: Sequence[Hashable], test: Sequence[Hashable]) -> Labels:
    seen = set(train)
    return np.array([key not in seen for key in test], dtype=bool)


def _figures(is_anomalous: Labels, scores: Scores) -> dict[str, float | None]:
    verdicts = judge(is_anomalous, scores)
    return {
        "precision": verdicts.precision,
        "recall": verdicts.recall,
        "f1": verdicts.f1,
        "pr_auc": rank(is_anomalous, scores).pr_auc,
    }
