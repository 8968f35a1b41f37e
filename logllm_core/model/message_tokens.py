"""What the model reads of a message, by the message's id: encoder tokens, an id, decoder tokens.

Axes: M messages, L tokens of a message, E encoder width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from logllm_core.model.prompt import Tokenizer

Ids = NDArray[np.int64]
GROUP_SPREAD = 1.5  # the longest message of a group has at most so many times the shortest's tokens
GROUP_MESSAGES = 256  # and at most so many messages, which bounds the memory
SEPARATOR = ";"  # between messages that are given as text (paper, section V-G)


class MessageTokenizer(Protocol):
    """The part of a Hugging Face tokenizer that turns masked messages into encoder tokens."""

    def __call__(
        self, texts: list[str], *, truncation: bool, max_length: int
    ) -> Mapping[str, list[list[int]]]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageTokens:
    """Encoder tokens of messages of like length, right-padded to the longest of them."""

    token_ids_ML: Tensor  # int64
    is_token_ML: Tensor  # bool

    def to(self, device: torch.device) -> Self:
        return type(self)(
            token_ids_ML=self.token_ids_ML.to(device), is_token_ML=self.is_token_ML.to(device)
        )


# What the encoder takes: groups of messages, one after the other, or ids.
EncoderInput = tuple[MessageTokens, ...] | Tensor


def on_device(messages: EncoderInput, device: torch.device) -> EncoderInput:
    if isinstance(messages, Tensor):
        return messages.to(device)
    return tuple(group.to(device) for group in messages)


class EncoderVocabulary(Protocol):
    """The messages of a data set, as an encoder reads them."""

    cut_messages: frozenset[int]  # ids of those of which it reads the beginning alone

    def sort(self, message_ids: Ids) -> Ids:
        """The order in which `encoder_input` gives messages least padding."""
        ...

    def encoder_input(self, message_ids: Ids) -> EncoderInput:
        """Of messages in the order of `sort`."""
        ...


class TokenizedVocabulary:
    """Every distinct message of a data set, tokenised once for the encoder.

    Args:
        texts: the masked messages; the position is the message id.
        tokenizer: the encoder's own, with its special tokens.
        max_message_tokens: longer messages are cut, and are in `cut_messages`.
    """

    def __init__(
        self, texts: Sequence[str], tokenizer: MessageTokenizer, *, max_message_tokens: int
    ) -> None:
        encoded = tokenizer(list(texts), truncation=True, max_length=max_message_tokens)
        self.token_ids = encoded["input_ids"]
        self.num_tokens = np.array([len(ids) for ids in self.token_ids], dtype=np.int64)
        full = np.flatnonzero(self.num_tokens == max_message_tokens).tolist()
        asked = [texts[message_id] for message_id in full]
        whole = tokenizer(asked, truncation=False, max_length=max_message_tokens) if asked else {}
        self.cut_messages = frozenset(
            message_id
            for message_id, ids in zip(full, whole.get("input_ids", []), strict=True)
            if len(ids) > max_message_tokens
        )

    def sort(self, message_ids: Ids) -> Ids:
        return message_ids[np.argsort(self.num_tokens[message_ids], kind="stable")]

    def encoder_input(self, message_ids: Ids) -> tuple[MessageTokens, ...]:
        """Tokens in groups of like length, so that little is padding."""
        groups, start = [], 0
        lengths = self.num_tokens[message_ids]
        while start < len(message_ids):
            end = int(np.searchsorted(lengths, lengths[start] * GROUP_SPREAD, side="right"))
            end = min(end, start + GROUP_MESSAGES)
            groups.append(self._padded(message_ids[start:end], int(lengths[end - 1])))
            start = end
        return tuple(groups)

    def _padded(self, message_ids: Ids, length: int) -> MessageTokens:
        token_ids_ML = np.zeros((len(message_ids), length), dtype=np.int64)
        for row, message_id in enumerate(message_ids):
            ids = self.token_ids[message_id]
            token_ids_ML[row, : len(ids)] = ids
        is_token_ML = np.arange(length) < self.num_tokens[message_ids][:, None]
        return MessageTokens(
            token_ids_ML=torch.from_numpy(token_ids_ML), is_token_ML=torch.from_numpy(is_token_ML)
        )


class IdVocabulary:
    """Messages as bare ids, for an encoder that is a table of vectors (Table IV, template id)."""

    cut_messages: frozenset[int] = frozenset()

    def sort(self, message_ids: Ids) -> Ids:
        return message_ids

    def encoder_input(self, message_ids: Ids) -> Tensor:
        return torch.from_numpy(message_ids)


class TextVocabulary:
    """Messages as decoder tokens, for a model without embedder (section V-G).

    Args:
        texts: the masked messages; the position is the message id.
        tokenizer: the decoder's own.
        max_message_tokens: longer messages are cut, and are in `cut_messages`.
    """

    def __init__(
        self, texts: Sequence[str], tokenizer: Tokenizer, *, max_message_tokens: int
    ) -> None:
        self._separator = tokenizer.encode(SEPARATOR, add_special_tokens=False)
        whole = [tokenizer.encode(" " + text, add_special_tokens=False) for text in texts]
        self.cut_messages = frozenset(
            message_id for message_id, ids in enumerate(whole) if len(ids) > max_message_tokens
        )
        self._token_ids = [ids[:max_message_tokens] for ids in whole]

    def joined(self, message_ids: Sequence[int]) -> list[int]:
        """The tokens of a window's messages, with semicolons between them."""
        first, *others = message_ids
        tokens = list(self._token_ids[first])
        for message_id in others:
            tokens += self._separator
            tokens += self._token_ids[message_id]
        return tokens
