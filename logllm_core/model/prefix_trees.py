"""Sequences that begin alike, laid out as a tree, so that what they share is computed once.

In a decoder a position depends on those before it alone. Sequences that begin with the same prompt
and messages therefore have the same keys and values up to where they part; here they have the same
nodes. A node sees itself and its ancestors, and its position is its depth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logllm_core.model.message_tokens import Ids


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """Some sequences as nodes; n nodes, s sequences. A node comes after its parent."""

    ids: Ids  # [n]
    parents: Ids  # [n], -1 for a root
    depths: Ids  # [n]
    ends: Ids  # [s]: the node of each sequence's last element

    @property
    def sees(self) -> NDArray[np.bool_]:
        """Whether a node (row) sees another (column), [n, n]."""
        sees = np.eye(len(self.ids), dtype=bool)
        for node, parent in enumerate(self.parents.tolist()):
            if parent >= 0:
                sees[node] |= sees[parent]
        return sees


def grow(sequences: Sequence[Ids], max_nodes: int) -> Iterator[Tree]:
    """Trees of consecutive sequences, in the order given; sorted sequences share most.

    Args:
        sequences: none empty.
        max_nodes: of a tree; a longer sequence has a tree of its own.
    """
    start = 0
    while start < len(sequences):
        shared, size, end = [0], len(sequences[start]), start + 1
        while end < len(sequences):
            common = num_common(sequences[end - 1], sequences[end])
            size += len(sequences[end]) - common
            if size > max_nodes:
                break
            shared.append(common)
            end += 1
        yield _tree(sequences[start:end], shared)
        start = end


def num_common(first: Ids, second: Ids) -> int:
    """How many elements two sequences begin with alike."""
    length = min(len(first), len(second))
    differing = np.flatnonzero(first[:length] != second[:length])
    return int(differing[0]) if len(differing) else length


def _tree(sequences: Sequence[Ids], shared: Sequence[int]) -> Tree:
    """`shared`: how many elements each sequence has in common with the one before it."""
    ids, parents, depths, ends = [], [], [], []
    path = np.empty(0, dtype=np.int64)  # the nodes of the sequence before, from the root
    start = 0
    for sequence, common in zip(sequences, shared, strict=True):
        end = start + len(sequence) - common
        path = np.concatenate([path[:common], np.arange(start, end)])
        ids.append(sequence[common:])
        parents.append(np.concatenate([[-1], path[:-1]])[common:])
        depths.append(np.arange(common, len(sequence)))
        ends.append(path[-1])
        start = end
    return Tree(
        ids=np.concatenate(ids),
        parents=np.concatenate(parents),
        depths=np.concatenate(depths),
        ends=np.array(ends),
    )
