"""How a detector does on windows that it cannot know by heart.

Logs repeat themselves: on HDFS, 95 % of the sessions are the same sequence of messages as another.
A test window that repeats a training window asks for memory only, so the others are measured alone.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from logllm_core.evaluation.measures.metrics import Labels, Scores, judge, rank
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.results.report import Subset, SubsetFigures, UnseenSubsets


def subsets(
    train: Windows, test: Windows, is_anomalous: Labels, scores: Mapping[str, Scores]
) -> UnseenSubsets:
    """Figures on test windows whose sequence, and whose set, of messages training lacks."""

    def figures(is_chosen: Labels) -> Subset:
        return Subset(
            num_windows=int(is_chosen.sum()),
            num_anomalous=int(is_anomalous[is_chosen].sum()),
            detectors={
                detector: _figures(is_anomalous[is_chosen], of_detector[is_chosen])
                for detector, of_detector in scores.items()
            },
        )

    sets = [list(map(frozenset, windows.message_ids)) for windows in (train, test)]
    return UnseenSubsets(
        unseen_sequences=figures(_are_unseen(train.message_ids, test.message_ids)),
        unseen_message_sets=figures(_are_unseen(*sets)),
    )


def _are_unseen(train: Sequence[Hashable], test: Sequence[Hashable]) -> Labels:
    seen = set(train)
    return np.array([key not in seen for key in test], dtype=bool)


def _figures(is_anomalous: Labels, scores: Scores) -> SubsetFigures:
    verdicts = judge(is_anomalous, scores)
    return SubsetFigures(
        precision=verdicts.precision,
        recall=verdicts.recall,
        f1=verdicts.f1,
        pr_auc=rank(is_anomalous, scores).pr_auc,
    )
