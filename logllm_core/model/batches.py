"""From windows of message ids to the tensors of one forward pass.

Axes: B windows, M distinct messages, L tokens of a message, N messages of the longest window.
A batch encodes each distinct message once and carries an index back to the windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor


class MessageTokenizer(Protocol):
    """The part of a Hugging Face tokenizer that turns masked messages into encoder tokens."""

    def __call__(
        self, texts: list[str], *, truncation: bool, max_length: int
    ) -> Mapping[str, list[list[int]]]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageTokens:
    """Encoder tokens of messages, right-padded to the longest of them."""

    token_ids_ML: Tensor  # int64
    is_token_ML: Tensor  # bool

    def to(self, device: torch.device) -> Self:
        return type(self)(
            token_ids_ML=self.token_ids_ML.to(device), is_token_ML=self.is_token_ML.to(device)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowBatch:
    """Windows as rows into the M distinct messages of the batch, left-aligned.

    `messages` holds either the messages' tokens (the encoder runs) or their encoder vectors
    [M, E], computed before (the encoder is frozen).
    """

    messages: MessageTokens | Tensor
    rows_BN: Tensor  # int64, row of the distinct message; 0 beyond a window's end
    num_messages_B: Tensor  # int64
    is_anomalous_B: Tensor  # bool; meaningless when scoring

    def to(self, device: torch.device) -> Self:
        return type(self)(
            messages=self.messages.to(device),
            rows_BN=self.rows_BN.to(device),
            num_messages_B=self.num_messages_B.to(device),
            is_anomalous_B=self.is_anomalous_B.to(device),
        )


class TokenizedVocabulary:
    """Every distinct message of a data set, tokenised once.

    Args:
        texts: the masked messages; the position is the message id.
        tokenizer: the encoder's own, with its special tokens.
        max_message_tokens: longer messages are cut, and counted in `num_cut_messages`.
    """

    def __init__(
        self, texts: Sequence[str], tokenizer: MessageTokenizer, *, max_message_tokens: int
    ) -> None:
        encoded = tokenizer(list(texts), truncation=True, max_length=max_message_tokens)
        self._token_ids = encoded["input_ids"]
        full = [
            text
            for text, ids in zip(texts, self._token_ids, strict=True)
            if len(ids) == max_message_tokens
        ]
        whole = tokenizer(full, truncation=False, max_length=max_message_tokens) if full else {}
        self.num_cut_messages = sum(
            len(ids) > max_message_tokens for ids in whole.get("input_ids", [])
        )

    def __len__(self) -> int:
        return len(self._token_ids)

    def num_tokens(self, message_id: int) -> int:
        return len(self._token_ids[message_id])

    def tokens(self, message_ids: Sequence[int]) -> MessageTokens:
        """Tokens of the given messages, padded to the longest of them only."""
        chosen = [self._token_ids[message_id] for message_id in message_ids]
        length = max(map(len, chosen))
        token_ids_ML = torch.zeros(len(chosen), length, dtype=torch.int64)
        is_token_ML = torch.zeros(len(chosen), length, dtype=torch.bool)
        for row, ids in enumerate(chosen):
            token_ids_ML[row, : len(ids)] = torch.tensor(ids)
            is_token_ML[row, : len(ids)] = True
        return MessageTokens(token_ids_ML=token_ids_ML, is_token_ML=is_token_ML)


def make_batch(
    windows: Sequence[Sequence[int]],
    is_anomalous: Sequence[bool],
    *,
    vocabulary: TokenizedVocabulary,
    vectors_ME: Tensor | None = None,
) -> WindowBatch:
    """One batch. With `vectors_ME` (the whole vocabulary's encoder vectors) nothing is encoded.

    Args:
        windows: message ids in log order, each window at least one.
        is_anomalous: the windows' labels.
        vocabulary: tokens of all messages.
        vectors_ME: encoder vectors of all messages, row = message id.
    """
    distinct = sorted({message_id for window in windows for message_id in window})
    row_of = {message_id: row for row, message_id in enumerate(distinct)}
    num_messages_B = torch.tensor([len(window) for window in windows])
    rows_BN = torch.zeros(len(windows), int(num_messages_B.max()), dtype=torch.int64)
    for place, window in enumerate(windows):
        rows_BN[place, : len(window)] = torch.tensor([row_of[m] for m in window])
    messages = vocabulary.tokens(distinct) if vectors_ME is None else vectors_ME[distinct]
    return WindowBatch(
        messages=messages,
        rows_BN=rows_BN,
        num_messages_B=num_messages_B,
        is_anomalous_B=torch.tensor(list(is_anomalous), dtype=torch.bool),
    )
