"""Recurrent layers that read a window from both ends, for LogRobust and PLELog.

Axes: B windows, L events of a window, E vector width, H both directions' states.
"""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class BothWays(nn.Module):
    """Layers one upon the other, with dropout between them.

    Args:
        cell: what each layer is made of.
        width: of the vectors that the first layer reads.
        num_states: of each direction.
    """

    def __init__(
        self,
        cell: type[nn.LSTM] | type[nn.GRU],
        width: int,
        *,
        num_states: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        # One by one: the dropout that cuDNN has between layers does not heed torch's seed.
        self.layers = nn.ModuleList(
            cell(size, num_states, batch_first=True, bidirectional=True)
            for size in [width, *[2 * num_states] * (num_layers - 1)]
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors_BLE: Tensor, is_event_BL: Tensor) -> Tensor:
        """The last layer's states [B, L, H]; 0 where there is no event."""
        packed = pack_padded_sequence(
            vectors_BLE, is_event_BL.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        for number, layer in enumerate(self.layers):
            if number:
                packed = packed._replace(data=self.dropout(packed.data))
            packed, _ = layer(packed)
        states_BLH, _ = pad_packed_sequence(packed, batch_first=True)
        return states_BLH
