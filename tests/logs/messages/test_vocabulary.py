import numpy as np
import pyarrow as pa

from logllm_core.logs.messages.vocabulary import Vocabulary

NO_LINES = np.array([], np.int64)


def test_ids_follow_the_first_appearance_across_blocks() -> None:
    vocabulary = Vocabulary()
    first = vocabulary.add_lines(pa.array(["b", "a"]), np.array([0, 1, 0]), np.array([4, 6, 7]))
    second = vocabulary.add_lines(  # messages that differed may be masked alike
        pa.array(["c", "a", "c", "d"]), np.array([0, 1, 3, 2]), np.array([8, 9, 12, 13])
    )
    assert first.tolist() == [0, 1, 0]
    assert second.tolist() == [2, 1, 3, 2]
    assert vocabulary.table().to_pylist() == [
        {"message_id": 0, "text": "b", "num_lines": 2, "first_line_number": 4},
        {"message_id": 1, "text": "a", "num_lines": 2, "first_line_number": 6},
        {"message_id": 2, "text": "c", "num_lines": 2, "first_line_number": 8},
        {"message_id": 3, "text": "d", "num_lines": 1, "first_line_number": 12},
    ]


def test_an_empty_block_adds_nothing() -> None:
    vocabulary = Vocabulary()
    ids = vocabulary.add_lines(pa.array([], pa.string()), NO_LINES, NO_LINES)
    assert (len(ids), str(ids.dtype), len(vocabulary)) == (0, "int32", 0)


def test_messages_of_another_vocabulary_enter_with_their_counts() -> None:
    vocabulary = Vocabulary()
    assert vocabulary.add(["a", "b"], [3, 1], [0, 2]).tolist() == [0, 1]
    assert vocabulary.add(["c", "b"], [2, 5], [4, 6]).tolist() == [2, 1]
    table = vocabulary.table()
    assert table["text"].to_pylist() == ["a", "b", "c"]
    assert table["num_lines"].to_pylist() == [3, 6, 2]
    assert table["first_line_number"].to_pylist() == [0, 2, 4]
