"""DeepLog: an LSTM learns which log key comes next; one that it finds unlikely is an anomaly.

M. Du, F. Li, G. Zheng and V. Srikumar, "DeepLog: Anomaly Detection and Diagnosis from System Logs
through Deep Learning", CCS 2017: sections 3.1 (the log key model) and 5.1 (its settings).

Axes: B histories, H events of a history, K known events, D units.
"""

from pydantic import Field
from torch import Tensor, nn

from logllm_core.paper.building_blocks.interface import Bench, Method, Scorer, Training
from logllm_core.paper.building_blocks.next_event import HistorySettings, fit_next, one_hot

NAME = "deeplog"


class DeepLogSettings(HistorySettings):
    """As in section 5.1, where it says something: h 10, g 9, two layers of 64 units."""

    num_layers: int = Field(default=2, ge=1)  # L
    num_units: int = Field(default=64, ge=1)  # alpha


class DeepLog(nn.Module):
    """Histories of one-hot keys through stacked LSTMs; the last state tells the next key."""

    def __init__(self, num_known: int, settings: DeepLogSettings) -> None:
        super().__init__()
        self.num_known = num_known
        self.lstm = nn.LSTM(
            num_known, settings.num_units, num_layers=settings.num_layers, batch_first=True
        )
        self.output = nn.Linear(settings.num_units, num_known)

    def forward(self, before_BH: Tensor) -> Tensor:
        """Logits of the next key, [B, K]."""
        states_BHD, _ = self.lstm(one_hot(before_BH, self.num_known))
        logits_BK: Tensor = self.output(states_BHD[:, -1])
        return logits_BK


def fit(training: Training, settings: DeepLogSettings, bench: Bench) -> Scorer:
    """The network, taught on the windows' histories."""
    num_known = training.events.num_known
    bench.seed_weights(NAME)
    network = DeepLog(num_known, settings).to(bench.device)
    return fit_next(
        NAME, network, training.windows, num_known=num_known, settings=settings, bench=bench
    )


METHOD = Method(
    name=NAME,
    title="DeepLog",
    paper='M. Du et al., "DeepLog: Anomaly Detection and Diagnosis from System Logs through Deep '
    'Learning", CCS 2017',
    reads="templates",
    has_encoder=False,
    labels="normal windows only",
    settings=DeepLogSettings(),
    fit=fit,
    rule="A window is an alarm if any of its templates is not among the g likeliest after "
    "those before it.",
    differs=(
        "Only the log key model: the models of parameter values and the workflows are left out; "
        "templates hold no parameters.",
        "A history that is shorter than h is padded at the front, so that all events of a window "
        "but its first are judged, in short windows, too; a new one is an alarm anywhere.",
        "Templates are Drain's, not Spell's, as for all methods here.",
        "100 epochs of at most 20,000 histories that are drawn anew, 256 a step: the paper does "
        "not say how long it trains.",
    ),
)
