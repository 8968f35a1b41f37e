"""What simple detectors learn from: the training windows, each distinct bag once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from logllm_core.evaluation.measures.bags import Ids, count_messages, distinct_bags
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.logs.windows.window_artifact import Windows

MAX_BAGS = 200_000  # distinct ones: each is compared with each new one, or has a vector


class NotApplicableError(Exception):
    """Why a baseline cannot be fitted here, as a short sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the baselines may learn from."""

    train: Windows
    # By message id: the share of its lines in training windows that are alerts; of all lines for a
    # message that training lacks. None where lines have no labels.
    alert_rates: NDArray[np.float64] | None
    # The frozen encoder's, by message id. None where there are too many messages to encode.
    vectors_ME: NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingBags:
    """The training windows, each distinct bag once."""

    evidence: Evidence
    labels: Labels
    bags: list[Ids]
    bag_of_window: NDArray[np.int64]
    columns: NDArray[np.int64]  # by message id, its column among the messages of training, or -1
    counts_BM: csr_matrix

    @classmethod
    def of(cls, evidence: Evidence) -> "TrainingBags":
        assert evidence.train.is_anomalous is not None
        bags, bag_of_window = distinct_bags(evidence.train.message_ids)
        known = np.unique(np.fromiter((i for bag in bags for i in bag), dtype=np.int64))
        columns = np.full(known.max(initial=-1) + 1, -1, dtype=np.int64)
        columns[known] = np.arange(len(known))
        return cls(
            evidence=evidence,
            labels=evidence.train.is_anomalous,
            bags=bags,
            bag_of_window=bag_of_window,
            columns=columns,
            counts_BM=count_messages(bags, columns),
        )

    def tally(self) -> tuple[Scores, Scores]:
        """The normal and the anomalous windows of each bag."""
        normal, anomalous = (
            np.bincount(self.bag_of_window[self.labels == label], minlength=len(self.bags))
            for label in (False, True)
        )
        return normal.astype(np.float64), anomalous.astype(np.float64)

    def check_size(self) -> None:
        if len(self.bags) > MAX_BAGS:
            raise NotApplicableError(
                f"More than {MAX_BAGS:,} training windows differ in their messages."
            )

    def rows(self) -> tuple[NDArray[np.int64], Labels, Scores]:
        """What to fit on: bag, label and number of windows of each distinct pair."""
        if self.labels.all() or not self.labels.any():
            kind = "anomalous" if self.labels.any() else "normal"
            raise NotApplicableError(f"All training windows are {kind}.")
        numbers = np.concatenate(self.tally())
        pairs = np.flatnonzero(numbers)
        return pairs % len(self.bags), pairs >= len(self.bags), numbers[pairs]
