import pytest
import torch

from logllm_core.model.batches import MessageTokens, make_batch
from tests import tiny


def test_each_distinct_message_is_held_once_and_indexed_back() -> None:
    vocabulary = tiny.vocabulary(["alpha", "beta ok", "gamma"])
    batch = make_batch([[2, 0, 2], [0]], [True, False], vocabulary=vocabulary)
    assert isinstance(batch.messages, MessageTokens)
    # Distinct messages 0 and 2, each as [CLS] word [SEP]; nothing is padded for message 1.
    assert batch.messages.token_ids_ML.shape == (2, 3)
    assert batch.messages.is_token_ML.all()
    assert batch.rows_BN.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert batch.num_messages_B.tolist() == [3, 1]
    assert batch.is_anomalous_B.tolist() == [True, False]


def test_given_vectors_are_taken_instead_of_tokens() -> None:
    vectors_ME = torch.arange(6.0).view(3, 2)
    vocabulary = tiny.vocabulary(["alpha", "beta", "gamma"])
    batch = make_batch([[2, 0]], [False], vocabulary=vocabulary, vectors_ME=vectors_ME)
    assert isinstance(batch.messages, torch.Tensor)
    assert batch.messages.tolist() == [[0.0, 1.0], [4.0, 5.0]]


@pytest.mark.parametrize(("num_words", "num_cut"), [(14, 0), (15, 1)])
def test_messages_beyond_the_limit_are_cut_and_counted(num_words: int, num_cut: int) -> None:
    vocabulary = tiny.vocabulary(["alpha " * num_words, "beta"])  # at most 16 with [CLS] and [SEP]
    assert vocabulary.num_cut_messages == num_cut
    assert vocabulary.num_tokens(0) == 16
    assert vocabulary.tokens([0]).token_ids_ML[0, -1] == 3  # [SEP] survives the cut
