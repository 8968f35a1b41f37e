from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logllm_core.model.message_tokens import Ids
from logllm_core.model.prefix_trees import Tree, grow, num_common

# Sequences of a few different elements, all with the same first one, as the prompt gives them.
SEQUENCES = st.lists(
    st.lists(st.integers(0, 3), max_size=7).map(lambda rest: (9, *rest)), min_size=1, max_size=25
).map(sorted)


def arrays(sequences: Sequence[Sequence[int]]) -> list[Ids]:
    return [np.array(sequence, dtype=np.int64) for sequence in sequences]


def prefix(tree: Tree, node: int) -> tuple[int, ...]:
    """The elements that a node sees, from the root to itself."""
    seen = np.flatnonzero(tree.sees[node])
    return tuple(tree.ids[seen[np.argsort(tree.depths[seen])]].tolist())


def prefixes(sequences: Sequence[tuple[int, ...]]) -> set[tuple[int, ...]]:
    return {sequence[: end + 1] for sequence in sequences for end in range(len(sequence))}


def test_sequences_share_the_nodes_of_what_they_begin_with() -> None:
    # 1 - 2 - 3
    #      \- 4 - 5
    #           \- (ends here too)
    # \- 6
    (tree,) = grow(arrays([(1, 2, 3), (1, 2, 4), (1, 2, 4, 5), (1, 6)]), max_nodes=6)
    assert tree.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert tree.parents.tolist() == [-1, 0, 1, 1, 3, 0]
    assert tree.depths.tolist() == [0, 1, 2, 2, 3, 1]
    assert tree.ends.tolist() == [2, 3, 4, 5]
    assert tree.sees.astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 0, 1, 1, 0],
        [1, 0, 0, 0, 0, 1],
    ]


def test_a_sequence_that_does_not_fit_begins_a_tree_of_its_own() -> None:
    one, other = grow(arrays([(1, 2, 3), (1, 2, 4), (1, 2, 5)]), max_nodes=4)
    assert (one.ids.tolist(), one.ends.tolist()) == ([1, 2, 3, 4], [2, 3])
    assert (other.ids.tolist(), other.ends.tolist()) == ([1, 2, 5], [2])


def test_a_sequence_longer_than_a_tree_may_be_is_alone_and_whole() -> None:
    trees = list(grow(arrays([(1, 2), (1, 3, 4, 5, 6), (1, 7)]), max_nodes=3))
    assert [tree.ids.tolist() for tree in trees] == [[1, 2], [1, 3, 4, 5, 6], [1, 7]]


def test_equal_sequences_are_computed_once() -> None:
    (tree,) = grow(arrays([(1, 2, 3)] * 50), max_nodes=3)
    assert tree.ids.tolist() == [1, 2, 3]
    assert tree.ends.tolist() == [2] * 50


def test_no_sequences_are_no_trees() -> None:
    assert list(grow([], max_nodes=3)) == []


def test_what_two_sequences_have_in_common_ends_where_they_part_or_the_shorter_ends() -> None:
    for one, other, common in (
        ((1, 2, 3), (1, 2, 4), 2),
        ((1, 2), (1, 2, 4), 2),
        ((1, 2), (1, 2), 2),
        ((1, 2), (3, 2), 0),
    ):
        assert num_common(*arrays([one, other])) == common
        assert num_common(*arrays([other, one])) == common


@given(sequences=SEQUENCES, max_nodes=st.integers(1, 30))
def test_every_end_sees_its_sequence_and_no_two_nodes_stand_for_the_same(
    sequences: list[tuple[int, ...]], max_nodes: int
) -> None:
    trees = list(grow(arrays(sequences), max_nodes))
    read = [prefix(tree, end) for tree in trees for end in tree.ends.tolist()]
    assert read == sequences
    start = 0
    for tree in trees:
        held, start = sequences[start : start + len(tree.ends)], start + len(tree.ends)
        nodes = [prefix(tree, node) for node in range(len(tree.ids))]
        assert len(nodes) == len(set(nodes))
        assert set(nodes) == prefixes(held)
        assert [len(found) - 1 for found in nodes] == tree.depths.tolist()
        for node, parent in enumerate(tree.parents.tolist()):
            assert parent < node  # a node comes after its parent
            assert (nodes[parent] if parent >= 0 else ()) == nodes[node][:-1]
        assert len(nodes) <= max_nodes or len(held) == 1
        if start < len(sequences):  # a tree ends only where the next sequence does not fit
            assert len(prefixes([*held, sequences[start]])) > max_nodes
