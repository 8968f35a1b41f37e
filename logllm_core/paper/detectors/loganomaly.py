"""LogAnomaly: as DeepLog, but it reads what templates mean, and how often each has occurred.

W. Meng et al., "LogAnomaly: Unsupervised Detection of Sequential and Quantitative Anomalies in
Unstructured Logs", IJCAI 2019, section 3: one LSTM reads the vectors of the templates, another one
how often each has occurred so far; together they tell the next one. A template that training lacks
is taken for a known one of nearly the same meaning ("template approximation").

Axes: B histories, H events of a history, K known events, N events, E width of a vector, D units.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from logllm_core.paper.building_blocks.interface import Bench, Ids, Method, Scorer, Scores, Training
from logllm_core.paper.building_blocks.next_event import HistorySettings, fit_next, one_hot
from logllm_core.paper.building_blocks.word_vectors import template_vectors

NAME = "loganomaly"
NUM_COMPARED = 4_096  # new templates that are compared with the known ones at once


class LogAnomalySettings(HistorySettings):
    """Where the paper gives no value, that of public implementations."""

    num_layers: int = Field(default=2, ge=1)
    num_units: int = Field(default=128, ge=1)
    # From this cosine upwards a template that training lacks is taken for the nearest known one.
    # The paper takes it for the nearest in any case, which would make no template new.
    min_similarity: float = Field(default=0.9, ge=-1, le=1)


class LogAnomaly(nn.Module):
    """Two stacks of LSTMs over a history; their last states together tell the next template.

    Args:
        vectors_NE: of all events that histories may hold, the known ones first; on the device.
    """

    def __init__(self, vectors_NE: Tensor, num_known: int, settings: LogAnomalySettings) -> None:
        super().__init__()
        self.num_known = num_known
        nothing_1E = vectors_NE.new_zeros(1, vectors_NE.shape[1])  # PADDING, -1, is the last row
        # No buffer: a checkpoint need not hold what the texts give anew.
        self.vectors_NE = torch.cat([vectors_NE, nothing_1E])
        widths = {"meanings": vectors_NE.shape[1], "counts": num_known}
        self.lstms = nn.ModuleDict(
            {
                name: nn.LSTM(
                    width, settings.num_units, num_layers=settings.num_layers, batch_first=True
                )
                for name, width in widths.items()
            }
        )
        self.output = nn.Linear(2 * settings.num_units, num_known)

    def forward(self, before_BH: Tensor) -> Tensor:
        """Logits of the next template, [B, K]."""
        meanings_BHD, _ = self.lstms["meanings"](self.vectors_NE[before_BH])
        # Each step reads how often each template has occurred in the history up to it.
        counts_BHD, _ = self.lstms["counts"](one_hot(before_BH, self.num_known).cumsum(dim=1))
        logits_BK: Tensor = self.output(torch.cat([meanings_BHD[:, -1], counts_BHD[:, -1]], dim=1))
        return logits_BK


def fit(training: Training, settings: LogAnomalySettings, bench: Bench) -> Scorer:
    """The network, taught on the windows' histories; new templates are matched when scored."""
    num_known = training.events.num_known
    vectors_NE = template_vectors(training.events, bench.encoder)
    taken_for = match(vectors_NE, num_known, settings.min_similarity).tolist()
    bench.seed_weights(NAME)
    network = LogAnomaly(torch.from_numpy(vectors_NE).to(bench.device), num_known, settings)
    score = fit_next(
        NAME,
        network.to(bench.device),
        training.windows,
        num_known=num_known,
        settings=settings,
        bench=bench,
    )

    def score_matched(windows: Sequence[Ids]) -> Scores:
        return score([tuple(taken_for[event] for event in ids) for ids in windows])

    return score_matched


def match(
    vectors_NE: NDArray[np.float32], num_known: int, min_similarity: float
) -> NDArray[np.int64]:
    """What each event is taken for, [N]: itself, or the known event most like it."""
    lengths_N1 = np.linalg.norm(vectors_NE, axis=1, keepdims=True)
    units_NE = vectors_NE / np.maximum(lengths_N1, np.finfo(np.float32).tiny)
    taken_for = np.arange(len(vectors_NE))
    for start in range(num_known, len(vectors_NE), NUM_COMPARED):
        part = taken_for[start : start + NUM_COMPARED]  # a view
        cosines = units_NE[part] @ units_NE[:num_known].T
        part[:] = np.where(cosines.max(axis=1) >= min_similarity, cosines.argmax(axis=1), part)
    return taken_for


METHOD = Method(
    name=NAME,
    title="LogAnomaly",
    paper='W. Meng et al., "LogAnomaly: Unsupervised Detection of Sequential and Quantitative '
    'Anomalies in Unstructured Logs", IJCAI 2019',
    reads="templates",
    has_encoder=True,
    labels="normal windows only",
    settings=LogAnomalySettings(),
    fit=fit,
    rule="A window is an alarm if any of its templates is not among the g likeliest after "
    "those before it.",
    differs=(
        "Word vectors come from the encoder at hand, weighed as LogRobust weighs them, not from "
        "template2vec, which wants operators to list a log's synonyms and antonyms.",
        "A template that training lacks is taken for the nearest known one only from a cosine of "
        "0.9 upwards, as a public implementation does; otherwise it is an alarm.",
        "Short histories are padded at the front, so that all events of a window but its first "
        "are judged, in short windows, too.",
        "Length of histories, number of candidates and units are those of public implementations; "
        "epochs and steps are as for DeepLog.",
    ),
)
