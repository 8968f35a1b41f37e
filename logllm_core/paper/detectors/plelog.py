"""PLELog: clusters guess the labels of unlabelled windows, and a GRU with attention learns them.

L. Yang, J. Chen, Z. Wang, W. Wang, J. Jiang, X. Dong, W. Zhang, "Semi-supervised log-based anomaly
detection via probabilistic label estimation", ICSE 2021. Half of the normal windows are known to be
normal, of all others no label is used. A window is the sum of its templates' semantic vectors
(section III-B); HDBSCAN clusters these (III-C): a cluster with a known window is normal, any other
is anomalous, and so is what is in no cluster, unless its very sum is that of a known window. Such a
guess is a probability, the nearer to 1 the more firmly the window belongs to its cluster. An
attention-based GRU is trained on the probabilities (III-D).

Axes: W windows, G bags (windows with the same events in any order are one), B windows of a batch,
L events of a window, V events, E vector width, P kept components, H both directions' states,
C classes (normal, anomalous).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from loguru import logger
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix
from sklearn.cluster import HDBSCAN
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from logllm_core.evaluation.measures.bags import distinct_bags
from logllm_core.paper.building_blocks.interface import (
    Bench,
    Ids,
    Labels,
    Method,
    Scorer,
    Scores,
    Training,
)
from logllm_core.paper.building_blocks.recurrent import BothWays
from logllm_core.paper.building_blocks.window_classifier import ClassifierSettings, fit_classifier
from logllm_core.paper.building_blocks.word_vectors import template_vectors
from logllm_core.training.sampling import derived_seed

NAME = "plelog"
NO_CLUSTER = -1  # as HDBSCAN numbers it
SMALL_LOG, FEWEST = 100, 5  # in a log of fewer times the least size, clusters are smaller
NOISE = 1e-6  # of the greatest deviation: what is less is rounding
DECAY, DECAY_STEPS = 0.75, 1_000  # of the learning rate, as in the public implementation


class PlelogSettings(ClassifierSettings):
    """The paper's values, those of training as the public implementation has them."""

    num_epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=100, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    max_window_events: int = Field(default=500, ge=1)
    known_fraction: float = Field(default=0.5, gt=0, le=1)  # of the normal windows
    num_components: int = Field(default=50, ge=1)  # to which the sums are reduced
    min_cluster_size: int = Field(default=100, ge=2)  # and the neighbours that make a place dense
    # HDBSCAN takes time that grows with the square: half a minute for these on one core.
    max_clustered: int = Field(default=40_000, ge=2)
    num_states: int = Field(default=100, ge=1)  # of each direction
    num_layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.33, ge=0, lt=1)  # of whole events, and between the layers


@dataclass(frozen=True, kw_only=True, slots=True)
class Clusters:
    """Where each window belongs."""

    clusters_W: NDArray[np.int64]  # NO_CLUSTER: to none
    strengths_W: NDArray[np.float64]  # how firmly, in [0, 1]


class AttentionGru(nn.Module):
    """Args: vectors_VE: of events, on the device; as they are, they are not trained."""

    def __init__(self, vectors_VE: Tensor, settings: PlelogSettings) -> None:
        super().__init__()
        self.vectors_VE = vectors_VE  # no buffer: a checkpoint need not hold it
        self.states = BothWays(
            nn.GRU,
            vectors_VE.shape[1],
            num_states=settings.num_states,
            num_layers=settings.num_layers,
            dropout=settings.dropout,
        )
        self.dropout = nn.Dropout(settings.dropout)
        num_both = 2 * settings.num_states
        # The paper's guide vector is the same for every window: with it, the bias of this layer.
        self.attention = nn.Linear(num_both, 1)
        self.output = nn.Linear(num_both, 2)

    def forward(self, events_BL: Tensor, is_event_BL: Tensor) -> Tensor:
        """Logits [B, C]."""
        vectors_BLE = self.vectors_VE[events_BL]
        is_kept_BL1 = self.dropout(torch.ones_like(vectors_BLE[..., :1]))
        states_BLH = self.states(vectors_BLE * is_kept_BL1, is_event_BL)
        weights_BL = torch.tanh(self.attention(states_BLH).squeeze(-1))
        weights_BL = weights_BL.masked_fill(~is_event_BL, -torch.inf).softmax(dim=1)
        logits_BC: Tensor = self.output((weights_BL[..., None] * states_BLH).sum(dim=1))
        return logits_BC


def fit(training: Training, settings: PlelogSettings, bench: Bench) -> Scorer:
    """Semantic vectors, clusters and guessed labels once, then the network on them."""
    vectors_VE = template_vectors(training.events, bench.encoder)
    generator = np.random.default_rng(derived_seed(bench.seed, NAME, "known windows"))
    is_known_W = known_windows(training.is_anomalous, settings.known_fraction, generator)
    bags, bag_W = distinct_bags(training.windows)
    reduced_GP = reduce(sums_of(bags, vectors_VE), np.bincount(bag_W), settings.num_components)
    clusters = cluster(reduced_GP, bag_W, settings, generator)
    chances_W = guess(clusters, bag_W, is_known_W)
    logger.info(
        "{}: {:,} clusters of {:,} windows ({:,} known to be normal); {:,} are taken for anomalous",
        *(METHOD.title, int(clusters.clusters_W.max()) + 1, len(bag_W), int(is_known_W.sum())),
        int((chances_W > 0.5).sum()),
    )
    bench.seed_weights(NAME)
    network = AttentionGru(torch.from_numpy(vectors_VE).to(bench.device), settings)
    return fit_classifier(
        NAME,
        network.to(bench.device),
        training,
        settings,
        bench,
        chances_W=chances_W,
        rate=lambda step: settings.learning_rate * DECAY ** (step // DECAY_STEPS),
    )


def known_windows(is_anomalous: Labels, fraction: float, generator: np.random.Generator) -> Labels:
    """Which windows are known to be normal, at least one; the only labels that are used."""
    normal = np.flatnonzero(~is_anomalous)
    num_known = max(round(fraction * len(normal)), 1)
    is_known = np.zeros(len(is_anomalous), dtype=bool)
    is_known[generator.permutation(normal)[:num_known]] = True
    return is_known


def sums_of(bags: Sequence[Ids], vectors_VE: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of each bag's event vectors, [G, E]."""
    rows = np.repeat(np.arange(len(bags)), [len(ids) for ids in bags])
    events = np.array([event for ids in bags for event in ids])
    counts_GV = csr_matrix((np.ones(len(rows)), (rows, events)), (len(bags), len(vectors_VE)))
    sums_GE: NDArray[np.float64] = counts_GV @ vectors_VE.astype(np.float64)
    return sums_GE


def reduce(
    sums_GE: NDArray[np.float64], num_windows_G: NDArray[np.int64], num_components: int
) -> NDArray[np.float64]:
    """The sums in the directions in which windows deviate most, each of the variance 1, [G, P].

    The paper takes FastICA. That is this whitening and then a rotation, which changes no distance;
    clusters know nothing but distances.
    """
    num_windows = num_windows_G.sum()
    centred_GE = sums_GE - num_windows_G @ sums_GE / num_windows
    covariance_EE = (centred_GE * num_windows_G[:, None]).T @ centred_GE / num_windows
    variances_E, directions_EE = np.linalg.eigh(covariance_EE)  # ascending
    num_true = int((variances_E > NOISE**2 * variances_E[-1]).sum()) if variances_E[-1] > 0 else 0
    first = len(variances_E) - min(num_components, num_true)
    reduced_GP: NDArray[np.float64] = (
        centred_GE @ directions_EE[:, first:] / np.sqrt(variances_E[first:])
    )
    return reduced_GP


def cluster(
    reduced_GP: NDArray[np.float64],
    bag_W: NDArray[np.int64],
    settings: PlelogSettings,
    generator: np.random.Generator,
) -> Clusters:
    """HDBSCAN's clusters of at most `max_clustered` windows; the others go with the nearest bag."""
    num_windows = min(len(bag_W), settings.max_clustered)
    sampled = bag_W[np.sort(generator.permutation(len(bag_W))[:num_windows])]
    least = min(settings.min_cluster_size, max(num_windows // SMALL_LOG, FEWEST))
    if not reduced_GP.shape[1] or num_windows <= least:  # nothing to tell apart
        return Clusters(
            clusters_W=np.full(len(bag_W), NO_CLUSTER), strengths_W=np.zeros(len(bag_W))
        )
    clustering = HDBSCAN(min_cluster_size=least, min_samples=least, copy=True).fit(
        reduced_GP[sampled]
    )
    bags, firsts = np.unique(sampled, return_index=True)
    nearest = NearestNeighbors(n_neighbors=1).fit(reduced_GP[bags])
    row_G = firsts[nearest.kneighbors(reduced_GP, return_distance=False)[:, 0]]
    return Clusters(
        clusters_W=clustering.labels_[row_G][bag_W].astype(np.int64),
        strengths_W=clustering.probabilities_[row_G][bag_W],
    )


def guess(clusters: Clusters, bag_W: NDArray[np.int64], is_known_W: Labels) -> Scores:
    """How likely each window is anomalous, [W], by its cluster and the known windows.

    A guess is right with the probability 1 - u / 2, where u is how loosely the window belongs to
    its cluster; in no cluster, the guess stands as it is, and what is known is known.
    """
    found_W = clusters.clusters_W
    has_cluster_W = found_W != NO_CLUSTER
    is_normal_W = np.where(
        has_cluster_W,
        np.isin(found_W, found_W[is_known_W & has_cluster_W]),
        np.isin(bag_W, bag_W[is_known_W]),
    )
    doubt_W = np.where(has_cluster_W, (1 - clusters.strengths_W) / 2, 0.0)
    chances_W: Scores = np.where(is_normal_W, doubt_W, 1 - doubt_W)
    chances_W[is_known_W] = 0.0
    return chances_W


METHOD = Method(
    name=NAME,
    title="PLELog",
    paper=(
        "L. Yang et al., Semi-supervised log-based anomaly detection via probabilistic label "
        "estimation, ICSE 2021"
    ),
    reads="templates",
    has_encoder=True,
    labels="some normal windows",
    settings=PlelogSettings(),
    fit=fit,
    rule="A window is an alarm if anomalous is the likelier class.",
    differs=(
        "Word vectors come from the encoder at hand, not from GloVe.",
        "At most 40,000 windows are clustered, drawn at random; the others go with the window that "
        "is nearest among these.",
        "How loosely a window belongs to its cluster is 1 minus HDBSCAN's membership strength; its "
        "paper takes the outlier score, which scikit-learn does not give.",
        "In a log of fewer than 10,000 windows, a hundredth of them can be a cluster, not 100.",
        "Sums are whitened, not unmixed by FastICA: the distances are the same.",
        "The known half of the normal windows is drawn at random, not the first half of the log.",
    ),
)
