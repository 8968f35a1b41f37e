"""CNN: convolutions over the sequence of a window's log templates.

S. Lu, X. Wei, Y. Li, L. Wang, "Detecting anomaly in big data system logs using convolutional neural
network", DASC 2018: a trained vector a template (logkey2vec), three convolutions side by side over
3, 4 and 5 neighbouring events, the highest value of each filter in the window, dropout, and a fully
connected layer that says normal or anomalous.

Axes: B windows, L events of a window, E vector width, F filters of a width, G filters of all
widths, C classes (normal, anomalous).
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.paper.building_blocks.interface import Bench, Method, Scorer, Training
from logllm_core.paper.building_blocks.window_classifier import ClassifierSettings, fit_classifier

NAME = "cnn"
FILTER_WIDTHS = (3, 4, 5)  # events that a filter sees


class CnnSettings(ClassifierSettings):
    """Vectors, filter widths and dropout are the paper's; the rest as public implementations."""

    num_epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=64, ge=1)  # windows
    learning_rate: float = Field(default=1e-3, gt=0)
    vector_size: int = Field(default=128, ge=1)  # of the codebook, logkey2vec
    num_filters: int = Field(default=128, ge=1)  # of each width
    dropout: float = Field(default=0.5, ge=0, lt=1)


class TemplateCnn(nn.Module):
    """Args: num_known: templates with a vector of their own; all others have the vector 0."""

    def __init__(self, num_known: int, settings: CnnSettings) -> None:
        super().__init__()
        self.num_known = num_known
        self.codebook = nn.Embedding(num_known + 1, settings.vector_size, padding_idx=num_known)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(settings.vector_size, settings.num_filters, width) for width in FILTER_WIDTHS
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(len(FILTER_WIDTHS) * settings.num_filters, 2)

    def forward(self, events_BL: Tensor, is_event_BL: Tensor) -> Tensor:
        """Logits [B, C]. Filters begin at an event and may reach beyond the end, over zeros."""
        known_BL = events_BL.masked_fill(~is_event_BL, self.num_known).clamp(max=self.num_known)
        vectors_BEL = self.codebook(known_BL).transpose(1, 2)
        vectors_BEL = functional.pad(vectors_BEL, (0, max(FILTER_WIDTHS) - 1))
        highest = []
        for convolution in self.convolutions:
            values_BFL = functional.leaky_relu(convolution(vectors_BEL)[..., : events_BL.shape[1]])
            values_BFL = values_BFL.masked_fill(~is_event_BL[:, None], -torch.inf)
            highest.append(values_BFL.amax(dim=2))
        highest_BG = torch.cat(highest, dim=1)
        logits_BC: Tensor = self.output(self.dropout(highest_BG))
        return logits_BC


def fit(training: Training, settings: CnnSettings, bench: Bench) -> Scorer:
    """Codebook and filters are trained together."""
    bench.seed_weights(NAME)
    network = TemplateCnn(training.events.num_known, settings).to(bench.device)
    return fit_classifier(NAME, network, training, settings, bench)


METHOD = Method(
    name=NAME,
    title="CNN",
    paper='S. Lu et al., "Detecting anomaly in big data system logs using convolutional neural '
    'network", DASC 2018',
    reads="templates",
    has_encoder=False,
    labels="all windows",
    settings=CnnSettings(),
    fit=fit,
    rule="A window is an alarm if anomalous is the likelier class.",
    differs=(
        "A template that training lacks has the vector 0; the paper has no such templates.",
        "Windows keep their length up to max_window_events, where the paper pads or cuts all to "
        "one length; a filter's highest value is sought among the window's own events.",
        "Templates are Drain's of masked messages.",
    ),
)
