"""What repeats, once: distinct windows, and windows as bags of their messages.

A bag is a window's messages with their numbers but without their order.

Axis names: `B` bags, `M` messages.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Ids = tuple[int, ...]
Key = TypeVar("Key", bound=Hashable)


def distinct(keys: Iterable[Key]) -> tuple[list[Key], NDArray[np.int64]]:
    """The distinct keys in order of appearance, and the number of each key among them."""
    numbers: dict[Key, int] = {}
    number_of = np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), dtype=np.int64)
    return list(numbers), number_of


def distinct_bags(windows: Iterable[Ids]) -> tuple[list[Ids], NDArray[np.int64]]:
    """The distinct bags of windows, and the number of each window's bag."""
    sequences, sequence_of = distinct(windows)
    bags, bag_of = distinct(tuple(sorted(ids)) for ids in sequences)
    return bags, bag_of[sequence_of]


def count_messages(bags: Sequence[Ids], columns: NDArray[np.int64]) -> csr_matrix:
    """How often each message occurs in each bag, [B, M].

    Args:
        columns: by message id, its column; messages beyond, or with -1, are left out.
    """
    rows = np.repeat(np.arange(len(bags)), [len(ids) for ids in bags])
    ids = np.fromiter((message for bag in bags for message in bag), dtype=np.int64)
    column_of = np.append(columns, -1)[np.minimum(ids, len(columns))]
    is_known = column_of >= 0
    cells = (rows[is_known], column_of[is_known])
    return csr_matrix(
        (np.ones(len(cells[0])), cells), shape=(len(bags), int(columns.max(initial=-1)) + 1)
    )
