"""From windows of message ids to the tensors of one forward pass.

Axes: B sequences, T positions, M distinct messages, K distinct decoder tokens, E encoder width,
R answer positions of all windows. A batch holds each distinct message and token once, as rows of
one table; its sequences are indices into that table.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.message_tokens import (
    EncoderInput,
    EncoderVocabulary,
    Ids,
    TextVocabulary,
    on_device,
)
from logllm_core.model.prefix_trees import Tree, grow
from logllm_core.model.prompt import PromptTokens

TREE_NODES = 192  # a larger tree shares more, and spends more on what does not see each other
BATCH_POSITIONS = 3_072  # of a forward pass that scores
CHUNK_WINDOWS = 8_192  # laid out at once, which bounds the memory
# Of the messages of a training pass, padding too, where these are text: one long window would pad
# all others to its length, ten times what a window with an embedder takes.
TEXT_POSITIONS = 4_096
OVERLAP = 0.25  # of an excerpt that follows another


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowBatch:
    """Windows as sequences of rows of a table: first the M messages, then the K tokens."""

    encoder_input: EncoderInput | None  # the messages; None with vectors, or without messages
    vectors_ME: Tensor | None  # instead: their encoder vectors
    token_ids_K: Tensor
    source_BT: Tensor  # int64, row of the table; any row where padded, on the right
    position_BT: Tensor | None  # None: from 0 on
    sees_BTT: Tensor | None  # bool, whether a position sees another; None: all up to itself
    answers_R: Tensor  # int64, positions of the flattened sequences that predict an answer token
    targets_R: Tensor | None  # the tokens that they should predict

    def to(self, device: torch.device) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {name: on_device(v, device) for name, v in values.items() if v is not None}
        return type(self)(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collator:
    """Turns windows into batches.

    Args:
        prompt: the decoder's tokens around the messages.
        vocabulary: the messages, as the model reads them.
        max_window_messages: what is beyond is cut.
        max_window_tokens: the same for messages that are given as text.
    """

    prompt: PromptTokens
    vocabulary: EncoderVocabulary | TextVocabulary
    max_window_messages: int = 128
    max_window_tokens: int = 2_048

    def is_cut(self, window: Sequence[int]) -> bool:
        if len(window) > self.max_window_messages:
            return True
        if not isinstance(self.vocabulary, TextVocabulary):
            return False
        return len(self.vocabulary.joined(window)) > self.max_window_tokens

    def cut(self, window: tuple[int, ...]) -> tuple[int, ...]:
        """The messages of a window that the model reads; of text, the last one perhaps in part."""
        cut = window[: self.max_window_messages]
        if not isinstance(self.vocabulary, TextVocabulary) or not self.is_cut(cut):
            return cut
        joined = self.vocabulary.joined
        enough = range(1, len(cut) + 1)
        num_read = bisect_left(enough, self.max_window_tokens, key=lambda n: len(joined(cut[:n])))
        return cut[: num_read + 1]

    def excerpts(self, window: Sequence[int]) -> list[slice]:
        """Where to read a window so that no message is left out: stretches of it that are not cut.

        A window that is not cut is one excerpt. Others overlap, so that messages which mean
        something together, and are no further apart, stay together in one of them. They begin at
        the same messages however much follows, so that windows which begin alike share them.
        """
        stretches, start = [], 0
        while True:
            end = start + self._num_read_whole(window[start : start + self.max_window_messages])
            stretches.append(slice(start, end))
            if end >= len(window):
                return stretches
            start = max(end - int((end - start) * OVERLAP), start + 1)

    def _num_read_whole(self, messages: Sequence[int]) -> int:
        """How many of these, from the first on, are read to their end; one at least."""
        if not isinstance(self.vocabulary, TextVocabulary) or not self.is_cut(messages):
            return len(messages)
        joined = self.vocabulary.joined
        numbers = range(1, len(messages) + 1)
        limit = self.max_window_tokens
        return max(bisect_right(numbers, limit, key=lambda n: len(joined(messages[:n]))), 1)

    def of_like_length(self, windows: Sequence[Sequence[int]], most: int) -> Iterator[Ids]:
        """Indices of windows that a training pass takes together, the shortest first.

        Args:
            most: windows of a pass; of text fewer, where they are long.
        """
        is_text = isinstance(self.vocabulary, TextVocabulary)
        lengths = np.array([len(self._messages(ids) if is_text else ids) for ids in windows])
        order = np.argsort(lengths, kind="stable")
        start = 0
        while start < len(order):
            end = start + 1
            while end < min(start + most, len(order)) and not (
                is_text and lengths[order[end]] * (end + 1 - start) > TEXT_POSITIONS
            ):
                end += 1
            yield order[start:end]
            start = end

    def training_batch(
        self,
        windows: Sequence[Sequence[int]],
        is_anomalous: Sequence[bool],
        vectors: EncoderVectors | None = None,
    ) -> WindowBatch:
        """Windows with their answers, one a row.

        Args:
            windows: message ids in log order, each window at least one.
            is_anomalous: the windows' labels.
            vectors: encoder vectors of these messages at least; then nothing is encoded.
        """
        answers = [np.array(self.prompt.answers[int(label)]) for label in is_anomalous]
        # The last answer token is only ever predicted, never read.
        rows = [
            np.concatenate([self._question(window), ~answer[:-1]])
            for window, answer in zip(windows, answers, strict=True)
        ]
        length = max(map(len, rows))
        ids_BT = np.full((len(rows), length), rows[0][0])
        positions = []
        for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
            ids_BT[number, : len(row)] = row
            end = number * length + len(row)
            positions.append(np.arange(end - len(answer), end))
        return replace(
            self._batch(ids_BT, np.concatenate(positions), vectors),
            targets_R=torch.from_numpy(np.concatenate(answers)),
        )

    def scoring_batches(
        self, windows: Sequence[tuple[int, ...]], vectors: EncoderVectors | None = None
    ) -> Iterator[tuple[list[int], WindowBatch]]:
        """Batches that ask for the token after the words that both answers share.

        Windows that begin alike share positions. With each batch come the indices of its windows,
        in the order of its answer positions. A window may be empty here: the question about
        nothing.
        """
        shared = ~np.array(self.prompt.answers[0][: self.prompt.num_shared_answer_tokens])
        order = sorted(range(len(windows)), key=lambda i: windows[i])
        for start in range(0, len(order), CHUNK_WINDOWS):
            chunk = order[start : start + CHUNK_WINDOWS]
            sequences = [np.concatenate([self._question(windows[i]), shared]) for i in chunk]
            yield from self._tree_batches(chunk, list(grow(sequences, TREE_NODES)), vectors)

    def _tree_batches(
        self, indices: list[int], trees: list[Tree], vectors: EncoderVectors | None
    ) -> Iterator[tuple[list[int], WindowBatch]]:
        """Trees of like size share a batch. `indices`: of the trees' sequences."""
        ends = np.cumsum([len(tree.ends) for tree in trees])
        by_size = sorted(range(len(trees)), key=lambda number: len(trees[number].ids))
        while by_size:
            num_trees = max(BATCH_POSITIONS // len(trees[by_size[-1]].ids), 1)
            by_size, chosen = by_size[:-num_trees], by_size[-num_trees:]
            of_batch = [
                index
                for number in chosen
                for index in indices[ends[number] - len(trees[number].ends) : ends[number]]
            ]
            yield of_batch, self._forest([trees[number] for number in chosen], vectors)

    def _messages(self, window: Sequence[int]) -> Ids:
        """A window as the ids of a sequence: messages as they are, decoder tokens inverted."""
        cut = window[: self.max_window_messages]
        if cut and isinstance(self.vocabulary, TextVocabulary):
            return ~np.array(self.vocabulary.joined(cut)[: self.max_window_tokens], dtype=np.int64)
        return np.array(cut, dtype=np.int64)

    def _question(self, window: Sequence[int]) -> Ids:
        """Introduction, messages, question."""
        before, after = np.array(self.prompt.introduction), np.array(self.prompt.question)
        return np.concatenate([~before, self._messages(window), ~after])

    def _forest(self, trees: Sequence[Tree], vectors: EncoderVectors | None) -> WindowBatch:
        length = max(len(tree.ids) for tree in trees)
        ids_BT = np.full((len(trees), length), trees[0].ids[0])
        position_BT = np.zeros((len(trees), length), dtype=np.int64)
        sees_BTT = np.zeros((len(trees), length, length), dtype=bool)
        sees_BTT[:, :, 0] = True  # a padded position sees something, or it would not be a number
        for row, tree in enumerate(trees):
            size = len(tree.ids)
            ids_BT[row, :size], position_BT[row, :size] = tree.ids, tree.depths
            sees_BTT[row, :size, :size] = tree.sees
        ends = [row * length + tree.ends for row, tree in enumerate(trees)]
        return replace(
            self._batch(ids_BT, np.concatenate(ends), vectors),
            position_BT=torch.from_numpy(position_BT),
            sees_BTT=torch.from_numpy(sees_BTT),
        )

    def _batch(
        self, ids_BT: Ids, answers_R: NDArray[np.int64], vectors: EncoderVectors | None
    ) -> WindowBatch:
        distinct, number_BT = np.unique(ids_BT, return_inverse=True)
        messages, tokens = distinct[distinct >= 0], ~distinct[distinct < 0]
        encoder_input, vectors_ME = None, None
        if len(messages) and vectors is not None:
            vectors_ME = vectors.vectors_ME[torch.from_numpy(vectors.row_of[messages])]
        elif len(messages):
            assert not isinstance(self.vocabulary, TextVocabulary)
            messages = self.vocabulary.sort(messages)
            encoder_input = self.vocabulary.encoder_input(messages)
        row_of = np.empty(len(distinct), dtype=np.int64)
        # `distinct` is sorted, tokens before messages; the table begins with the messages.
        row_of[: len(tokens)] = len(messages) + np.arange(len(tokens))
        row_of[np.searchsorted(distinct, messages)] = np.arange(len(messages))
        return WindowBatch(
            encoder_input=encoder_input,
            vectors_ME=vectors_ME,
            token_ids_K=torch.from_numpy(tokens),
            source_BT=torch.from_numpy(row_of[number_BT.reshape(ids_BT.shape)]),
            position_BT=None,
            sees_BTT=None,
            answers_R=torch.from_numpy(answers_R),
            targets_R=None,
        )
