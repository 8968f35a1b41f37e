"""Training, validation and test: how much each gets, and what a way of cutting windows yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from logllm_core.store.store import Json

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Sizes = tuple[int, int, int]  # of training, validation and test


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """How DuckDB cuts the kept lines into windows.

    `query` gives rows as in rows_to_windows.ROWS, the rows of a window together and in log order.
    """

    query: str
    parameters: Mapping[str, object]
    sizes: Sizes  # lines, or sessions, of each split
    has_line_labels: bool
    # For windows that are known beforehand: session_id and is_anomalous, a row a window, in order.
    sessions: pa.Table | None = None
    results: Mapping[str, Json] = field(default_factory=dict)  # what else the manifest says


def split_sizes(total: int, train_fraction: float, validation_fraction: float) -> Sizes:
    """How many of `total` lines or sessions go to training, validation and test."""
    tiny = 1e-9  # 100 * 0.29 is 28.999999999999996
    num_train_all = int(total * train_fraction + tiny)
    num_validation = int(num_train_all * validation_fraction + tiny)
    return num_train_all - num_validation, num_validation, total - num_train_all
