"""LogBERT: a transformer encoder fills in masked log keys; a window where it often fails is odd.

H. Guo, S. Yuan and X. Wu, "LogBERT: Log Anomaly Detection via BERT", IJCNN 2021, section III: keys
behind a [DIST] token go through transformer layers, which learn to predict masked keys and to keep
the vectors of [DIST] close to each other (the volume of a hypersphere around them, made small).

Windows that repeat are pieces with numbers; a sample is one occurrence, and has a mask of its own.

Axes: W windows, P pieces, B pieces of a batch, L keys of a piece, T = L + 1 tokens with [DIST], D
width, M masked keys, K known events.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.paper.building_blocks.fitting import AttentionSettings
from logllm_core.paper.building_blocks.interface import Bench, Ids, Method, Scorer, Scores, Training
from logllm_core.paper.building_blocks.sinusoids import positions
from logllm_core.paper.building_blocks.thresholds import beyond, hold_out, limit_of
from logllm_core.paper.building_blocks.window_classifier import batches, padded
from logllm_core.training.sampling import derived_seed

NAME = "logbert"
MAX_KEYS = 512  # of a piece; a longer window is read in several


class LogBertSettings(AttentionSettings):
    """As in section IV; what the paper tunes on labelled windows, as its code has it."""

    # The paper's code stops when a loss on held-out windows does, after at most 200 epochs, and
    # takes 5,000 normal sequences or so.
    num_epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    max_samples: int | None = Field(default=5_000, ge=1)
    num_layers: int = Field(default=2, ge=1)
    width: int = Field(default=50, ge=2, multiple_of=2)
    num_heads: int = Field(default=5, ge=1)
    num_hidden: int = Field(default=256, ge=1)  # of the layers' inner networks
    dropout: float = Field(default=0.1, ge=0, lt=1)
    mask_fraction: float = Field(default=0.5, gt=0, le=1)  # m
    hypersphere_weight: float = Field(default=0.1, ge=0)  # alpha, equation 6
    # g: 6 for HDFS in the paper's code, 15 for the others, which have more keys. With 15, a log of
    # 15 keys would have no misses; with 6, what other logs miss more often is part of r.
    num_candidates: int = Field(default=6, ge=1)
    # r, the share of misses beyond which a window is an alarm, is that which so many of the normal
    # training windows that are held out do not pass.
    held_out_fraction: float = Field(default=0.1, gt=0, lt=1)
    held_out_quantile: float = Field(default=0.99, gt=0, le=1)


class LogBert(nn.Module):
    """Ids from `num_known` upwards, keys that training lacks, are read as [MASK]."""

    center_D: Tensor  # of the hypersphere

    def __init__(self, num_known: int, settings: LogBertSettings) -> None:
        super().__init__()
        self.num_known = num_known
        width = settings.width
        self.tokens = nn.Embedding(num_known + 2, width)  # then [MASK] and [DIST]
        layer = nn.TransformerEncoderLayer(
            width,
            settings.num_heads,
            settings.num_hidden,
            dropout=settings.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, settings.num_layers, enable_nested_tensor=False)
        self.positions_TD = positions(MAX_KEYS + 1, width)  # no buffer: needs no checkpoint
        self.output = nn.Linear(width, num_known)
        self.register_buffer("center_D", torch.zeros(width))

    def forward(
        self, keys_BL: Tensor, is_key_BL: Tensor, is_masked_BL: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The vectors of [DIST], [B, D], and the logits of the masked keys in order, [M, K]."""
        mask, dist = self.num_known, self.num_known + 1
        seen_BL = keys_BL.masked_fill(is_masked_BL, mask).clamp(max=mask)
        tokens_BT = functional.pad(seen_BL, (1, 0), value=dist)
        is_padding_BT = functional.pad(~is_key_BL, (1, 0), value=False)
        positions_TD = self.positions_TD[: tokens_BT.shape[1]].to(keys_BL.device)
        states_BTD = self.encoder(
            self.tokens(tokens_BT) + positions_TD, src_key_padding_mask=is_padding_BT
        )
        return states_BTD[:, 0], self.output(states_BTD[:, 1:][is_masked_BL])


def cut(window: Ids) -> list[Ids]:
    """Pieces of at most MAX_KEYS keys, in order."""
    return [window[start : start + MAX_KEYS] for start in range(0, len(window), MAX_KEYS)]


def rounds_of(noise_BL: Tensor, is_key_BL: Tensor, mask_fraction: float) -> Tensor:
    """In which round, from 0, each key is masked: [B, L]; -1 for padding.

    A round masks the fraction of a piece's keys, rounded up, that have the least noise of those
    that no round before it has masked. So each key has its turn; the last round may mask fewer.
    """
    ranks_BL = noise_BL.masked_fill(~is_key_BL, math.inf).argsort(dim=1).argsort(dim=1)
    num_masked_B = (mask_fraction * is_key_BL.sum(dim=1)).ceil().long()
    return (ranks_BL // num_masked_B[:, None]).masked_fill(~is_key_BL, -1)


class DistinctPieces:
    """The distinct pieces of windows, and how often each occurs."""

    def __init__(self, windows: Sequence[Ids], device: torch.device) -> None:
        numbers: Counter[Ids] = Counter()
        for window, number in Counter(windows).items():
            for piece in cut(window):
                numbers[piece] += number
        self.distinct = list(numbers)
        self.of_sample = np.repeat(np.arange(len(numbers)), list(numbers.values()))
        self._device = device

    def padded(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        return padded([self.distinct[number] for number in numbers], self._device)


def fit(training: Training, settings: LogBertSettings, bench: Bench) -> Scorer:
    """The network on most of the windows, then the share of misses that the others have."""
    kept, held = (
        [training.windows[number] for number in part.tolist()]
        for part in hold_out(len(training.windows), settings.held_out_fraction, bench.seed)
    )
    bench.seed_weights(NAME)
    network = LogBert(training.events.num_known, settings).to(bench.device)
    # The same masks for all windows, so that a score does not hang on its neighbours.
    noise_L = torch.rand(MAX_KEYS).to(bench.device)  # of the same seed as the weights
    train(network, DistinctPieces(kept, bench.device), noise_L, settings, bench)

    def misses(windows: Sequence[Ids]) -> Scores:
        return shares_missed(network, windows, noise_L, settings)

    held_numbers = Counter(held)
    shares = np.repeat(misses(list(held_numbers)), list(held_numbers.values()))
    limit = limit_of(shares, settings.held_out_quantile)
    return lambda windows: beyond(misses(windows), limit)


def train(
    network: LogBert,
    pieces: DistinctPieces,
    noise_L: Tensor,
    settings: LogBertSettings,
    bench: Bench,
) -> None:
    """Equation 6: cross-entropy of masked keys, and distance of [DIST] vectors to their center."""

    def loss(samples: NDArray[np.int64]) -> Tensor:
        keys_BL, is_key_BL = pieces.padded(pieces.of_sample[samples].tolist())
        noise_BL = torch.rand(keys_BL.shape, device=bench.device)
        is_masked_BL = rounds_of(noise_BL, is_key_BL, settings.mask_fraction) == 0
        dist_BD, logits_MK = network(keys_BL, is_key_BL, is_masked_BL)
        predicted = functional.cross_entropy(logits_MK, keys_BL[is_masked_BL])
        # Mean over axes, as in the paper's code: its weight of 0.1 goes with that.
        squares = (dist_BD - network.center_D).square().mean()
        total: Tensor = predicted + settings.hypersphere_weight * squares
        return total

    dice = np.random.default_rng(derived_seed(bench.seed, NAME, "center"))
    num_samples = len(pieces.of_sample)
    chosen = dice.permutation(pieces.of_sample)[: settings.max_samples or num_samples]
    drawn, times = np.unique(chosen, return_counts=True)

    def move_center(_: int) -> None:
        """To the mean over (so many of) the training pieces, each with one mask for good."""
        total_D = torch.zeros_like(network.center_D)
        for part in batches([pieces.distinct[number] for number in drawn.tolist()]):
            keys_BL, is_key_BL = pieces.padded(drawn[part].tolist())
            noise_BL = noise_L[: keys_BL.shape[1]].expand(keys_BL.shape)
            rounds_BL = rounds_of(noise_BL, is_key_BL, settings.mask_fraction)
            dist_BD, _ = network(keys_BL, is_key_BL, rounds_BL == 0)
            total_D += torch.from_numpy(times[part]).to(dist_BD) @ dist_BD
        network.center_D.copy_(total_D / len(chosen))

    bench.trainer.train(
        NAME, network, loss, num_samples=num_samples, settings=settings, at_epoch=move_center
    )


@torch.no_grad()
def shares_missed(
    network: LogBert, windows: Sequence[Ids], noise_L: Tensor, settings: LogBertSettings
) -> Scores:
    """The share of each window's keys that are not among the likeliest when masked, [W]."""
    cut_windows = [cut(window) for window in windows]
    pieces = [piece for parts in cut_windows for piece in parts]
    misses_P = np.zeros(len(pieces))
    for batch in batches(pieces):
        keys_BL, is_key_BL = padded([pieces[number] for number in batch], noise_L.device)
        noise_BL = noise_L[: keys_BL.shape[1]].expand(keys_BL.shape)
        rounds_BL = rounds_of(noise_BL, is_key_BL, settings.mask_fraction)
        is_missed_BL = torch.zeros_like(is_key_BL)
        for round_ in range(int(rounds_BL.max()) + 1):
            is_masked_BL = rounds_BL == round_
            _, logits_MK = network(keys_BL, is_key_BL, is_masked_BL)
            is_missed_BL[is_masked_BL] = are_missed(
                logits_MK, keys_BL[is_masked_BL], settings.num_candidates
            )
        misses_P[batch] = is_missed_BL.sum(dim=1).cpu().numpy()
    window_of_piece = np.repeat(np.arange(len(windows)), [len(parts) for parts in cut_windows])
    lengths_W = np.array([len(window) for window in windows])
    shares: Scores = np.bincount(window_of_piece, weights=misses_P) / lengths_W
    return shares


def are_missed(logits_MK: Tensor, keys_M: Tensor, num_candidates: int) -> Tensor:
    """Which keys are not among the likeliest, [M]; those that training lacks never are."""
    num_known = logits_MK.shape[1]
    own_M1 = logits_MK.gather(1, keys_M.clamp(max=num_known - 1)[:, None])
    num_likelier_M = (logits_MK > own_M1).sum(dim=1)
    return (keys_M >= num_known) | (num_likelier_M >= num_candidates)


METHOD = Method(
    name=NAME,
    title="LogBERT",
    paper='H. Guo et al., "LogBERT: Log Anomaly Detection via BERT", IJCNN 2021',
    reads="templates",
    has_encoder=False,
    labels="normal windows only",
    settings=LogBertSettings(),
    fit=fit,
    rule="A window is an alarm if the share of its keys that are missed when masked is "
    "greater than in nearly all held-out normal training windows.",
    differs=(
        "The share of misses that is an alarm is learned on a tenth of the normal training "
        "windows, which the network does not see; the paper tunes it, with the share of masked "
        "keys and the number of candidates, on labelled windows.",
        "To score a window each of its keys is masked once, in rounds, where the paper masks some "
        "at random.",
        f"A window of more than {MAX_KEYS} keys is read in pieces of as many.",
        "50 epochs of at most 5,000 windows that are drawn anew; the center of the hypersphere is "
        "the mean over as many.",
        "Six candidates for all data sets, as the paper's code has for HDFS; it has 15 for the "
        "others.",
    ),
)
