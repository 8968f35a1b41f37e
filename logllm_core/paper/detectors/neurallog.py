"""NeuralLog: a transformer on the meanings of a window's messages, without a log parser.

V.-H. Le, H. Zhang, "Log-based anomaly detection without log parsing", ASE 2021: messages in plain
words, numbers and special characters removed (section III-A); a message's vector is the mean of its
tokens' in BERT's last layer (section III-B); sinusoidal positions, one transformer encoder layer,
the mean over the window, a small dense layer, and a softmax that says normal or anomalous
(section III-C).

Axes: B windows, L events of a window, V events, N distinct texts, E encoder width, C classes
(normal, anomalous).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from logllm_core.evaluation.measures.bags import distinct
from logllm_core.paper.building_blocks.interface import Bench, Events, Method, Scorer, Training
from logllm_core.paper.building_blocks.message_vectors import FrozenEncoder
from logllm_core.paper.building_blocks.sinusoids import positions
from logllm_core.paper.building_blocks.window_classifier import ClassifierSettings, fit_classifier
from logllm_core.paper.building_blocks.word_vectors import words_of

NAME = "neurallog"


class NeuralLogSettings(ClassifierSettings):
    """The paper's, or its public implementation's."""

    num_epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=64, ge=1)  # windows
    learning_rate: float = Field(default=3e-4, gt=0)
    max_heads: int = Field(default=12, ge=1)  # of attention; fewer where they do not divide E
    num_inner: int = Field(default=2_048, ge=1)  # of the layer's feed-forward network
    num_dense: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class MessageTransformer(nn.Module):
    """Args: vectors_VE: of events, on the device; as they are, they are not trained."""

    def __init__(self, vectors_VE: Tensor, settings: NeuralLogSettings) -> None:
        super().__init__()
        self.vectors_VE = vectors_VE  # no buffer: a checkpoint need not hold it
        width = vectors_VE.shape[1]
        self.layer = nn.TransformerEncoderLayer(
            width,
            max(heads for heads in range(1, settings.max_heads + 1) if width % heads == 0),
            settings.num_inner,
            settings.dropout,
            batch_first=True,
        )
        self.output = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(width, settings.num_dense),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.num_dense, 2),
        )

    def forward(self, events_BL: Tensor, is_event_BL: Tensor) -> Tensor:
        """Logits [B, C]."""
        vectors_BLE = self.vectors_VE[events_BL]
        vectors_BLE = vectors_BLE + positions(*vectors_BLE.shape[1:]).to(vectors_BLE.device)
        seen_BLE = self.layer(vectors_BLE, src_key_padding_mask=~is_event_BL)
        total_BE = seen_BLE.masked_fill(~is_event_BL[..., None], 0.0).sum(dim=1)
        logits_BC: Tensor = self.output(total_BE / is_event_BL.sum(dim=1, keepdim=True))
        return logits_BC


def message_vectors(events: Events, encoder: FrozenEncoder) -> NDArray[np.float32]:
    """[V, E]; messages of the same words are encoded once, one without words has the vector 0."""
    texts_V = [" ".join(words_of(text)) for text in events.texts]
    texts, text_of_event = distinct(texts_V)
    vectors_NE: NDArray[np.float32] = encoder.mean_vectors(texts)
    return vectors_NE[text_of_event]


def fit(training: Training, settings: NeuralLogSettings, bench: Bench) -> Scorer:
    """Message vectors once, then the network on them."""
    vectors_VE = torch.from_numpy(message_vectors(training.events, bench.encoder))
    bench.seed_weights(NAME)
    network = MessageTransformer(vectors_VE.to(bench.device), settings).to(bench.device)
    return fit_classifier(NAME, network, training, settings, bench)


METHOD = Method(
    name=NAME,
    title="NeuralLog",
    paper='V.-H. Le, H. Zhang, "Log-based anomaly detection without log parsing", ASE 2021',
    reads="messages",
    has_encoder=True,
    labels="all windows",
    settings=NeuralLogSettings(),
    fit=fit,
    rule="A window is an alarm if anomalous is the likelier class.",
    differs=(
        "Messages are masked before numbers and special characters are removed, so that each "
        "distinct one is encoded once.",
        "All epochs are trained at one rate by Adam; the public implementation warms up, decays "
        "and stops early.",
        "All training windows are seen as they are; the public implementation balances the "
        "classes.",
        "Windows are cut after max_window_events, messages after 100 tokens; padding is masked.",
    ),
)
