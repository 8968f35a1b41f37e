"""Encoders: from messages to vectors [M, E]. M messages, L tokens of a message, E encoder width."""

from typing import Any

import torch
from torch import Tensor, nn

from logllm_core.model.vocabulary import EncoderInput, MessageTokens


class TextEncoder(nn.Module):
    """A BERT model's pooled output (dense and tanh on [CLS]; paper, section IV-B1).

    Args:
        bert: gives `pooler_output` [M, E] for `input_ids` [M, L].
    """

    bert: Any

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, groups: EncoderInput) -> Tensor:
        assert isinstance(groups, tuple)
        return torch.cat([self._pooled(group) for group in groups])

    def _pooled(self, group: MessageTokens) -> Tensor:
        output = self.bert(
            input_ids=group.token_ids_ML, attention_mask=group.is_token_ML.long()
        ).pooler_output
        assert isinstance(output, Tensor)
        return output.float()


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
