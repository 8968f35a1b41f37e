"""Encoders: from messages to vectors [M, E]. M messages, L tokens of a message, E encoder width."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from logllm_core.model import Pooling
from logllm_core.model.message_tokens import EncoderInput, Ids, MessageTokens


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderVectors:
    """Encoder vectors of messages, computed before, on the CPU."""

    vectors_ME: Tensor
    row_of: Ids  # by message id; meaningless for other messages


def _pooler(output: Any, group: MessageTokens) -> Tensor:
    pooled: Tensor = output.pooler_output
    return pooled.float()


def _mean(output: Any, group: MessageTokens) -> Tensor:
    """Over all tokens, [CLS] and [SEP] too, as sentence-transformers has it."""
    is_token_ML1 = group.is_token_ML[..., None]
    states_MLE: Tensor = output.last_hidden_state
    total_ME = states_MLE.float().masked_fill(~is_token_ML1, 0.0).sum(dim=1)
    return total_ME / is_token_ML1.sum(dim=1)


def _cls(output: Any, group: MessageTokens) -> Tensor:
    states_MLE: Tensor = output.last_hidden_state
    return states_MLE[:, 0].float()


POOL: Mapping[Pooling, Callable[[Any, MessageTokens], Tensor]] = {
    "pooler": _pooler,
    "mean": _mean,
    "cls": _cls,
}


class TextEncoder(nn.Module):
    """A BERT model, and how the states of a message's tokens become its vector.

    Args:
        bert: gives `last_hidden_state` [M, L, E] and `pooler_output` [M, E] for `input_ids` [M, L].
        pooling: a row of `POOL`; the paper's is the pooler (section IV-B1).
    """

    bert: Any

    def __init__(self, bert: nn.Module, pooling: Pooling = "pooler") -> None:
        super().__init__()
        self.bert = bert
        self._pool = POOL[pooling]

    def forward(self, groups: EncoderInput) -> Tensor:
        assert isinstance(groups, tuple)
        return torch.cat([self._vectors(group) for group in groups])

    def _vectors(self, group: MessageTokens) -> Tensor:
        output = self.bert(input_ids=group.token_ids_ML, attention_mask=group.is_token_ML.long())
        return self._pool(output, group)


class IdEncoder(nn.Module):
    """A learned vector for each message id (paper, Table IV, template id).

    A message that was not known when the table was made has the vector 0.

    Args:
        known_ids: ids of the messages of the training windows.
        width: of a vector.
    """

    known_ids: Tensor

    def __init__(self, known_ids: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("known_ids", known_ids.sort().values)
        self.embedding = nn.Embedding(len(known_ids) + 1, width, padding_idx=len(known_ids))

    def forward(self, ids_M: EncoderInput) -> Tensor:
        assert isinstance(ids_M, Tensor)
        row_M = torch.searchsorted(self.known_ids, ids_M)
        nearest_M = self.known_ids[row_M.clamp(max=len(self.known_ids) - 1)]
        vectors_ME = self.embedding(torch.where(nearest_M == ids_M, row_M, len(self.known_ids)))
        assert isinstance(vectors_ME, Tensor)
        return vectors_ME
