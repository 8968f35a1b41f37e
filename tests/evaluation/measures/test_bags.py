import numpy as np

from logllm_core.evaluation.measures.bags import count_messages, distinct, distinct_bags


def test_what_repeats_is_numbered_in_order_of_appearance() -> None:
    keys, number_of = distinct(["b", "a", "b", "c", "a"])
    assert keys == ["b", "a", "c"]
    assert number_of.tolist() == [0, 1, 0, 2, 1]


def test_windows_with_the_same_events_in_another_order_are_one_bag() -> None:
    bags, bag_of_window = distinct_bags([(2, 0, 1), (1,), (0, 1, 2), (1, 1)])
    assert bags == [(0, 1, 2), (1,), (1, 1)]
    assert bag_of_window.tolist() == [0, 1, 0, 2]


def test_messages_are_counted_per_bag() -> None:
    columns = np.array([0, 1, -1, 2])  # 2 has none, and 4 lies beyond
    bags = [(0, 0, 1), (1, 2), (0, 3, 3, 4)]
    assert count_messages(bags, columns).toarray().tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 2]]
