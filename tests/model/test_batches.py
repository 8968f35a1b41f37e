from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from logllm_core.model import batches
from logllm_core.model.batches import Collator, WindowBatch
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.message_tokens import IdVocabulary, TextVocabulary, TokenizedVocabulary
from logllm_core.model.prompt import PromptTokens
from tests import tiny

# Answers of one shared token, one that decides, and EOS; messages below are single digits.
PROMPT = PromptTokens(introduction=(11, 15), question=(16,), answers=((17, 18, 12), (17, 19, 12)))
COLLATOR = Collator(prompt=PROMPT, vocabulary=IdVocabulary())
WINDOWS = st.lists(
    st.lists(st.integers(0, 9), min_size=1, max_size=8).map(tuple), min_size=1, max_size=20
)


def table(batch: WindowBatch, vocabulary: TokenizedVocabulary | None = None) -> list[str]:
    """What each row of the table stands for: `m` and a message id, or a decoder token."""
    messages: list[int] = []
    if isinstance(batch.encoder_input, Tensor):
        messages = batch.encoder_input.tolist()
    elif batch.encoder_input is not None:
        assert vocabulary is not None
        messages = [
            vocabulary.token_ids.index(row[is_token].tolist())
            for group in batch.encoder_input
            for row, is_token in zip(group.token_ids_ML, group.is_token_ML, strict=True)
        ]
    return [f"m{message}" for message in messages] + [str(k) for k in batch.token_ids_K.tolist()]


def read(batch: WindowBatch, vocabulary: TokenizedVocabulary | None = None) -> list[list[str]]:
    """The sequences of a batch, padding included."""
    names = table(batch, vocabulary)
    return [[names[source] for source in row] for row in batch.source_BT.tolist()]


def framed(window: tuple[int, ...], *answer: int) -> list[str]:
    messages = [f"m{message}" for message in window]
    return ["11", "15", *messages, "16", *map(str, answer)]


def test_a_window_is_framed_by_the_prompt_and_its_answer_but_for_the_last_token() -> None:
    batch = COLLATOR.training_batch([(2, 0, 2), (0,)], [True, False])
    long, short = read(batch)
    assert long == ["11", "15", "m2", "m0", "m2", "16", "17", "19"]
    assert short[:6] == ["11", "15", "m0", "16", "17", "18"]
    assert batch.position_BT is None
    assert batch.sees_BTT is None


def test_each_answer_token_is_predicted_from_the_position_before_it() -> None:
    batch = COLLATOR.training_batch([(2, 0, 2), (0,)], [True, False])
    # 16 predicts 17, 17 the deciding token, and that predicts EOS; the second row begins at 8.
    assert batch.answers_R.tolist() == [5, 6, 7, 8 + 3, 8 + 4, 8 + 5]
    assert batch.targets_R is not None
    assert batch.targets_R.tolist() == [17, 19, 12, 17, 18, 12]


def test_windows_that_begin_alike_share_positions_when_they_are_scored() -> None:
    ((places, batch),) = COLLATOR.scoring_batches([(2, 1), (2,), (2, 1)])
    # In order: (2,), (2, 1), (2, 1). The first two part after message 2.
    assert places == [1, 0, 2]
    assert read(batch) == [["11", "15", "m2", "16", "17", "m1", "16", "17"]]
    assert batch.position_BT is not None
    assert batch.position_BT.tolist() == [[0, 1, 2, 3, 4, 3, 4, 5]]
    assert batch.answers_R.tolist() == [4, 7, 7]
    assert batch.targets_R is None


def test_each_distinct_message_is_tokenised_once_and_indexed_back() -> None:
    vocabulary = tiny.vocabulary(["alpha alpha", "beta ok ok", "gamma"])
    collator = Collator(prompt=PROMPT, vocabulary=vocabulary)
    batch = collator.training_batch([(0, 2, 0), (2,)], [True, False])
    assert isinstance(batch.encoder_input, tuple)
    # Message 2 comes first, for it is shorter; nothing is padded for message 1.
    assert [group.token_ids_ML.shape for group in batch.encoder_input] == [(2, 4)]
    assert table(batch, vocabulary) == ["m2", "m0", "19", "18", "17", "16", "15", "11"]
    assert read(batch, vocabulary)[0] == framed((0, 2, 0), 17, 19)
    assert read(batch, vocabulary)[1][:6] == framed((2,), 17, 18)


@given(windows=WINDOWS)
def test_a_training_batch_reads_back_as_its_windows_from_a_table_without_repetition(
    windows: list[tuple[int, ...]],
) -> None:
    labels = [len(window) % 2 == 1 for window in windows]
    batch = COLLATOR.training_batch(windows, labels)
    rows = table(batch)
    assert len(rows) == len(set(rows))
    for row, window, label in zip(read(batch), windows, labels, strict=True):
        expected = framed(window, *PROMPT.answers[label][:-1])
        assert row[: len(expected)] == expected
    flat = [name for row in read(batch) for name in row]
    read_from = [flat[position] for position in batch.answers_R.tolist()]
    assert read_from == [n for label in labels for n in framed((), *PROMPT.answers[label])[2:-1]]


@given(
    windows=WINDOWS,
    tree_nodes=st.integers(1, 60),
    positions=st.integers(1, 200),
    chunk=st.integers(1, 25),
)
def test_scoring_batches_hold_every_window_once_and_show_each_its_own_sequence(
    windows: list[tuple[int, ...]], tree_nodes: int, positions: int, chunk: int
) -> None:
    seen_places: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "TREE_NODES", tree_nodes)
        patch.setattr(batches, "BATCH_POSITIONS", positions)
        patch.setattr(batches, "CHUNK_WINDOWS", chunk)
        for places, batch in COLLATOR.scoring_batches(windows):
            seen_places += places
            rows, (num_trees, length) = read(batch), batch.source_BT.shape
            assert num_trees * length <= positions or num_trees == 1
            assert batch.sees_BTT is not None
            assert batch.position_BT is not None
            assert batch.sees_BTT.any(dim=-1).all()  # a row that sees nothing is not a number
            names = table(batch)
            assert len(names) == len(set(names))
            for place, answer in zip(places, batch.answers_R.tolist(), strict=True):
                tree, node = divmod(answer, length)
                seen = np.flatnonzero(batch.sees_BTT[tree, node].numpy())
                depths = batch.position_BT[tree, seen].tolist()
                assert sorted(depths) == list(range(len(seen)))
                sequence = [rows[tree][node] for _, node in sorted(zip(depths, seen, strict=True))]
                assert sequence == framed(windows[place], 17)
    assert sorted(seen_places) == list(range(len(windows)))


def test_vectors_that_are_given_are_taken_and_nothing_is_encoded() -> None:
    vectors_ME = torch.arange(6.0).view(3, 2)  # of the messages 7, 0 and 2
    row_of = np.array([1, 99, 2, 99, 99, 99, 99, 0])
    vectors = EncoderVectors(vectors_ME=vectors_ME, row_of=row_of)
    training = COLLATOR.training_batch([(2, 7), (2,)], [False, True], vectors)
    ((_, scoring),) = COLLATOR.scoring_batches([(2, 7), (2,)], vectors)
    for batch in (training, scoring):
        assert batch.encoder_input is None
        assert batch.vectors_ME is not None
        assert batch.vectors_ME.tolist() == [[4.0, 5.0], [0.0, 1.0]]  # of 2 and 7
    assert training.source_BT[0, 2:4].tolist() == [0, 1]


def test_messages_beyond_a_windows_limit_are_cut() -> None:
    collator = Collator(prompt=PROMPT, vocabulary=IdVocabulary(), max_window_messages=2)
    batch = collator.training_batch([(3, 1, 4)], [False])
    assert read(batch) == [framed((3, 1), 17, 18)]
    ((_, batch),) = collator.scoring_batches([(3, 1, 4)])
    assert read(batch) == [framed((3, 1), 17)]
    assert [collator.is_cut(window) for window in ((3,), (3, 1), (3, 1, 4))] == [False, False, True]


@pytest.mark.parametrize(
    ("num_messages", "places"),
    [
        (1, [(0, 1)]),
        (8, [(0, 8)]),
        (9, [(0, 8), (6, 9)]),
        (14, [(0, 8), (6, 14)]),
        (15, [(0, 8), (6, 14), (12, 15)]),
    ],
)
def test_a_long_window_is_read_in_excerpts_that_overlap_by_a_quarter(
    num_messages: int, places: list[tuple[int, int]]
) -> None:
    collator = Collator(prompt=PROMPT, vocabulary=IdVocabulary(), max_window_messages=8)
    excerpts = collator.excerpts(range(num_messages))
    assert [(one.start, one.stop) for one in excerpts] == places


def test_excerpts_of_text_fit_into_a_windows_tokens_too() -> None:
    # "alpha read" are two tokens, "beta" is one, and there are semicolons between.
    window: tuple[int, ...] = (1, 1, 1, 1, 1, 0, 1, 0, 1)
    collator = text_collator(max_window_tokens=8)
    parts = [window[part] for part in collator.excerpts(window)]
    assert parts == [(1, 1, 1, 1), (1, 1, 0, 1), (1, 0, 1)]
    assert not any(map(collator.is_cut, parts))


def test_a_text_longer_than_a_window_is_an_excerpt_of_its_own() -> None:
    collator = text_collator(max_window_tokens=1)
    window: tuple[int, ...] = (1, 0, 1)
    assert [window[part] for part in collator.excerpts(window)] == [(1,), (0,), (1,)]


def text_collator(*, max_window_messages: int = 128, max_window_tokens: int) -> Collator:
    vocabulary = TextVocabulary(
        ["alpha read", "beta"], tiny.decoder_tokenizer(), max_message_tokens=16
    )
    return Collator(
        prompt=PROMPT,
        vocabulary=vocabulary,
        max_window_messages=max_window_messages,
        max_window_tokens=max_window_tokens,
    )


@pytest.mark.parametrize(
    ("max_tokens", "words", "is_cut"),
    [
        (5, ["alpha", "read", ";", "beta"], False),
        (4, ["alpha", "read", ";", "beta"], False),  # just fits
        (3, ["alpha", "read", ";"], True),
        (1, ["alpha"], True),
    ],
)
def test_text_beyond_a_windows_tokens_is_cut(
    max_tokens: int, words: list[str], is_cut: bool
) -> None:
    collator = text_collator(max_window_tokens=max_tokens)
    token_of = tiny.decoder_tokenizer().get_vocab()
    batch = collator.training_batch([(0, 1)], [False])
    assert batch.encoder_input is None
    assert read(batch) == [["11", "15", *(str(token_of[word]) for word in words), "16", "17", "18"]]
    assert collator.is_cut((0, 1)) == is_cut


def test_windows_with_an_embedder_share_a_pass_by_their_number_alone() -> None:
    collator = tiny.collator(["alpha", "beta"], of=tiny.model())
    windows = [(0,) * 9_000, (1,), (0, 1), (1, 1)]
    assert [part.tolist() for part in collator.of_like_length(windows, 3)] == [[1, 2, 3], [0]]


def test_long_windows_of_text_share_a_pass_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of 1 and 2 tokens, with semicolons between them: windows of 1, 2, 5, 7, 8 tokens."""
    monkeypatch.setattr("logllm_core.model.batches.TEXT_POSITIONS", 12)
    collator = tiny.collator(["alpha", "beta gamma"], of=tiny.model(), embedder="none")
    windows = [(1, 1, 1), (0,), (0, 0, 0, 0), (1,), (1, 1)]
    assert [len(collator.vocabulary.joined(ids)) for ids in windows] == [8, 1, 7, 2, 5]  # type: ignore[union-attr]
    parts = [part.tolist() for part in collator.of_like_length(windows, 3)]
    # Three of at most 5 tokens are 15, two of 7 are 14: too many. One alone always passes.
    assert parts == [[1, 3], [4], [2], [0]]
    monkeypatch.setattr("logllm_core.model.batches.TEXT_POSITIONS", 7)
    assert [part.tolist() for part in collator.of_like_length(windows[:1], 3)] == [[0]]


def test_text_has_a_limit_of_messages_too() -> None:
    collator = text_collator(max_window_messages=1, max_window_tokens=99)
    (alone,), (cut,) = (read(collator.training_batch([w], [True])) for w in ((1,), (1, 0)))
    assert alone == cut
    assert (collator.is_cut((1,)), collator.is_cut((1, 0))) == (False, True)


def tensors(batch: WindowBatch) -> list[Tensor]:
    values = [getattr(batch, field.name) for field in fields(batch)]
    groups = [value for value in values if isinstance(value, tuple)]
    found = [value for value in values if isinstance(value, Tensor)]
    return found + [t for group in groups for m in group for t in (m.token_ids_ML, m.is_token_ML)]


@pytest.mark.parametrize("has_vectors", [True, False])
def test_all_of_a_batch_goes_to_a_device(has_vectors: bool) -> None:
    collator = Collator(prompt=PROMPT, vocabulary=tiny.vocabulary(["alpha", "beta ok ok ok"]))
    given = EncoderVectors(vectors_ME=torch.ones(2, 3), row_of=np.arange(2))
    vectors = given if has_vectors else None
    training = collator.training_batch([(0, 1)], [True], vectors)
    ((_, scoring),) = collator.scoring_batches([(0, 1)], vectors)
    # Tokens, sources, answers, and targets or positions and what sees what; vectors or two groups.
    assert [len(tensors(b)) for b in (training, scoring)] == ([5, 6] if has_vectors else [8, 9])
    for batch in (training, scoring):
        assert all(tensor.is_meta for tensor in tensors(batch.to(torch.device("meta"))))


def test_what_stands_in_the_padding_does_not_matter() -> None:
    model = tiny.model().eval()
    collator = tiny.collator(["alpha", "beta ok ok", "gamma"], model)
    batch = collator.training_batch([(0, 1, 2, 2, 1), (1,)], [True, False])
    expected = model(batch)
    batch.source_BT[1, -4:] = torch.tensor([0, 3, 1, 5])
    torch.testing.assert_close(model(batch), expected, rtol=0, atol=0)


def test_what_stands_in_the_padding_does_not_matter_to_trees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "TREE_NODES", 1)  # a window a tree
    model = tiny.model().eval()
    collator = tiny.collator(["alpha", "beta ok ok", "gamma"], model)
    ((places, batch),) = collator.scoring_batches([(0, 1, 2, 2, 1), (1,)])
    assert len(batch.source_BT) == 2
    expected = model.answer_log_probabilities(batch)
    batch.source_BT[places.index(1), -4:] = torch.tensor([0, 3, 1, 5])
    torch.testing.assert_close(model.answer_log_probabilities(batch), expected, rtol=0, atol=0)
