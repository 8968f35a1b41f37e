"""LogRobust: an attention-based Bi-LSTM on the meanings of a window's log templates.

X. Zhang, Y. Xu, Q. Lin, B. Qiao et al., "Robust log-based anomaly detection on unstable log data",
ESEC/FSE 2019: semantic vectors of templates (section 3.2, see `word_vectors`), so that a changed
template lies near the old one; a Bi-LSTM reads them, each state counts by its attention, and a
softmax says normal or anomalous (section 3.3).

Axes: B windows, L events of a window, V events, E vector width, H both directions' states,
C classes (normal, anomalous).
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from logllm_core.paper.building_blocks.interface import Bench, Method, Scorer, Training
from logllm_core.paper.building_blocks.recurrent import BothWays
from logllm_core.paper.building_blocks.window_classifier import ClassifierSettings, fit_classifier
from logllm_core.paper.building_blocks.word_vectors import template_vectors

NAME = "logrobust"


class LogRobustSettings(ClassifierSettings):
    """Width, layers, dropout and rate as the public implementations have them."""

    num_epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=64, ge=1)  # windows; theirs, 256 and more, are few steps here
    learning_rate: float = Field(default=1e-3, gt=0)
    num_states: int = Field(default=128, ge=1)  # of each direction
    num_layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)  # between the layers


class AttentionBiLstm(nn.Module):
    """Args: vectors_VE: of events, on the device; as they are, they are not trained."""

    def __init__(self, vectors_VE: Tensor, settings: LogRobustSettings) -> None:
        super().__init__()
        self.vectors_VE = vectors_VE  # no buffer: a checkpoint need not hold it
        self.states = BothWays(
            nn.LSTM,
            vectors_VE.shape[1],
            num_states=settings.num_states,
            num_layers=settings.num_layers,
            dropout=settings.dropout,
        )
        num_both = 2 * settings.num_states
        self.attention = nn.Linear(num_both, 1, bias=False)
        self.output = nn.Linear(num_both, 2)

    def forward(self, events_BL: Tensor, is_event_BL: Tensor) -> Tensor:
        """Logits [B, C]."""
        states_BLH = self.states(self.vectors_VE[events_BL], is_event_BL)
        attention_BL1 = torch.tanh(self.attention(states_BLH))
        logits_BC: Tensor = self.output((attention_BL1 * states_BLH).sum(dim=1))
        return logits_BC


def fit(training: Training, settings: LogRobustSettings, bench: Bench) -> Scorer:
    """Semantic vectors once, then the network on them."""
    vectors_VE = torch.from_numpy(template_vectors(training.events, bench.encoder))
    bench.seed_weights(NAME)
    network = AttentionBiLstm(vectors_VE.to(bench.device), settings).to(bench.device)
    return fit_classifier(NAME, network, training, settings, bench)


METHOD = Method(
    name=NAME,
    title="LogRobust",
    paper='X. Zhang et al., "Robust log-based anomaly detection on unstable log data", '
    "ESEC/FSE 2019",
    reads="templates",
    has_encoder=True,
    labels="all windows",
    settings=LogRobustSettings(),
    fit=fit,
    rule="A window is an alarm if anomalous is the likelier class.",
    differs=(
        "Word vectors come from the encoder at hand, centred and brought to one size, not from "
        "FastText, which is 4 GB.",
        "The stop words are a short list of this project, without words that tell templates apart, "
        "such as not or down.",
        "A word that no training template holds is weighed as a rare one; the paper does not say.",
        "The weights of attention are the same at each place of a window; windows differ in "
        "length.",
        "Templates are Drain's of masked messages, and windows are cut after max_window_events.",
    ),
)
