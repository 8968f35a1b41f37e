import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logllm_core.model.message_tokens import (
    GROUP_MESSAGES,
    IdVocabulary,
    MessageTokens,
    TextVocabulary,
    on_device,
)
from tests import tiny


def text_vocabulary(texts: list[str], *, max_message_tokens: int = 16) -> TextVocabulary:
    return TextVocabulary(texts, tiny.decoder_tokenizer(), max_message_tokens=max_message_tokens)


def words(vocabulary: TextVocabulary, *window: int) -> list[str]:
    found = tiny.decoder_tokenizer().convert_ids_to_tokens(vocabulary.joined(window))
    assert isinstance(found, list)
    return found


def of_lengths(*num_words: int) -> list[str]:
    """Messages of so many words; [CLS] and [SEP] make two tokens more."""
    return [" ".join(["alpha"] * number) for number in num_words]


def test_messages_are_sorted_by_their_tokens_and_else_stay_in_order() -> None:
    vocabulary = tiny.vocabulary(of_lengths(5, 1, 3, 1, 5))
    assert vocabulary.sort(np.arange(5)).tolist() == [1, 3, 2, 0, 4]
    assert vocabulary.sort(np.array([4, 2, 0])).tolist() == [2, 4, 0]


def test_a_group_ends_where_a_message_is_half_as_long_again_as_its_shortest() -> None:
    vocabulary = tiny.vocabulary(of_lengths(2, 4, 5, 7, 8))  # 4, 6, 7, 9 and 10 tokens
    groups = vocabulary.encoder_input(np.arange(5))
    # 6 <= 1.5 * 4 < 7; 9 and 10 <= 1.5 * 7 = 10.5.
    assert [tuple(group.token_ids_ML.shape) for group in groups] == [(2, 6), (3, 10)]
    assert groups[0].is_token_ML.sum(dim=1).tolist() == [4, 6]
    assert groups[1].is_token_ML.sum(dim=1).tolist() == [7, 9, 10]


def test_a_group_is_padded_on_the_right() -> None:
    (group,) = tiny.vocabulary(["ok", "ok ok"]).encoder_input(np.arange(2))
    ok = tiny.encoder_tokenizer().convert_tokens_to_ids("ok")
    assert group.token_ids_ML.tolist() == [[2, ok, 3, 0], [2, ok, ok, 3]]
    assert group.is_token_ML.tolist() == [[True, True, True, False], [True] * 4]


def test_a_group_holds_no_more_messages_than_memory_is_meant_for() -> None:
    vocabulary = tiny.vocabulary(["alpha"] * (GROUP_MESSAGES + 1))
    groups = vocabulary.encoder_input(np.arange(GROUP_MESSAGES + 1))
    assert [len(group.token_ids_ML) for group in groups] == [GROUP_MESSAGES, 1]


@given(num_words=st.lists(st.integers(0, 14), min_size=1, max_size=40))
def test_groups_hold_every_message_once_in_order_and_are_of_like_length(
    num_words: list[int],
) -> None:
    vocabulary = tiny.vocabulary(of_lengths(*num_words))
    ordered = vocabulary.sort(np.arange(len(num_words)))
    groups = vocabulary.encoder_input(ordered)
    found = [
        row[is_token].tolist()
        for group in groups
        for row, is_token in zip(group.token_ids_ML, group.is_token_ML, strict=True)
    ]
    assert found == [vocabulary.token_ids[message_id] for message_id in ordered.tolist()]
    for group in groups:
        lengths = group.is_token_ML.sum(dim=1)
        assert lengths.max() <= 1.5 * lengths.min()
        assert lengths.max() == group.token_ids_ML.shape[1]


@pytest.mark.parametrize(("num_words", "cut"), [(14, set()), (15, {1})])
def test_messages_beyond_the_limit_are_cut_and_known(num_words: int, cut: set[int]) -> None:
    # At most 16 with [CLS] and [SEP].
    vocabulary = tiny.vocabulary(["alpha " * 14, "alpha " * num_words, "beta"])
    assert vocabulary.cut_messages == cut
    assert vocabulary.num_tokens.tolist() == [16, 16, 3]
    (group,) = vocabulary.encoder_input(np.array([1]))
    assert group.token_ids_ML[0, -1] == 3  # [SEP] survives the cut


def test_ids_are_given_as_they_are() -> None:
    vocabulary = IdVocabulary()
    message_ids = np.array([7, 2, 5])
    assert vocabulary.encoder_input(vocabulary.sort(message_ids)).tolist() == [7, 2, 5]
    assert vocabulary.cut_messages == set()


def test_text_is_joined_by_semicolons_without_special_tokens() -> None:
    vocabulary = text_vocabulary(["alpha read", "beta"])
    assert words(vocabulary, 1) == ["beta"]
    assert words(vocabulary, 0, 1, 0) == ["alpha", "read", ";", "beta", ";", "alpha", "read"]


def test_long_messages_of_text_are_cut_and_known() -> None:
    texts = ["alpha read ok", "beta ok", "gamma read disk ok"]
    vocabulary = text_vocabulary(texts, max_message_tokens=2)
    assert words(vocabulary, 0, 1, 0, 2) == [
        *("alpha", "read", ";", "beta", "ok", ";", "alpha", "read", ";", "gamma", "read")
    ]
    assert vocabulary.cut_messages == {0, 2}


def test_groups_and_ids_go_to_a_device() -> None:
    meta = torch.device("meta")
    groups = on_device(tiny.vocabulary(of_lengths(1, 9)).encoder_input(np.arange(2)), meta)
    assert isinstance(groups, tuple)
    assert len(groups) == 2
    for group in groups:
        assert isinstance(group, MessageTokens)
        assert group.token_ids_ML.is_meta
        assert group.is_token_ML.is_meta
    ids = on_device(torch.tensor([1]), meta)
    assert isinstance(ids, torch.Tensor)
    assert ids.is_meta
