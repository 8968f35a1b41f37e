"""A transformer over events in their order, with a vector learned for each place in it."""

import torch
from torch import Tensor, nn


class EventTransformer(nn.Module):
    """Vectors of ids in their order.

    Axes: B windows, L ids of a window, E width.

    Args:
        num_ids: that there are.
        max_ids: of a window.
    """

    def __init__(
        self,
        num_ids: int,
        *,
        max_ids: int,
        width: int,
        num_heads: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.ids = nn.Embedding(num_ids, width)
        self.places = nn.Embedding(max_ids, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            width,
            num_heads,
            dim_feedforward=width,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, ids_BL: Tensor, is_id_BL: Tensor) -> Tensor:
        """[B, L, E]."""
        place_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
        input_BLE = self.dropout(self.norm(self.ids(ids_BL) + self.places(place_L)))
        hidden_BLE: Tensor = self.layers(input_BLE, src_key_padding_mask=~is_id_BL)
        return hidden_BLE
