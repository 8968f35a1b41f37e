"""FastLogAD: a generator makes unlikely windows, a discriminator tells them by their norm.

Y. Lin, H. Deng, X. Li, "FastLogAD: log anomaly detection with mask-guided pseudo anomaly generation
and discrimination", arXiv 2404.08750, 2024. Two small transformers as in ELECTRA, both trained on
normal windows alone. The generator learns to predict masked events (MGAG): where it is asked for
*unlikely* ones in their place, a window becomes a pseudo-anomaly. The discriminator first learns
which events of such a window were replaced, then to separate normal from pseudo-anomalous windows
(DAS): the vector at [CLS] shrinks for the first and must not for the second. Its norm is the score,
and its limit is the norm that 99 % of held-out normal windows do not pass.

Ids: events that training knows come first, then UNKNOWN, MASK and CLS.
Axes: B windows, L events of a window, T events and the [CLS] before them, K masked events of the
batch, E width, V ids that stand for events.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.evaluation.measures.bags import distinct
from logllm_core.paper.building_blocks import thresholds
from logllm_core.paper.building_blocks.event_transformer import EventTransformer
from logllm_core.paper.building_blocks.fitting import AttentionSettings
from logllm_core.paper.building_blocks.interface import Bench, Ids, Method, Scorer, Scores, Training
from logllm_core.paper.building_blocks.window_classifier import batches, padded
from logllm_core.paper.building_blocks.window_pieces import Group, cut, grouped

NAME = "fastlogad"
LEAST = 1e-6  # a norm or a chance that is not 0


class FastLogAdSettings(AttentionSettings):
    """The public implementation's values for HDFS; its rate for BGL is 3e-5."""

    num_epochs: int = Field(default=40, ge=1)  # of each phase; their second ends early or at 100
    batch_size: int = Field(default=32, ge=1)  # windows, each beside its pseudo-anomaly
    learning_rate: float = Field(default=1e-4, gt=0)
    max_samples: int | None = Field(default=50_000, ge=1)  # all normal windows of BGL
    mask_ratio: float = Field(default=0.5, gt=0, le=1)
    width: int = Field(default=256, ge=1)
    num_layers: int = Field(default=4, ge=1)
    num_heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    max_piece_events: int = Field(default=511, ge=1)  # longer windows are read in pieces
    normal_weight: float = Field(default=0.1, gt=0)  # of a normal window's norm in the loss
    held_out_fraction: float = Field(default=0.1, gt=0, lt=1)  # of the windows, for the limit
    limit_quantile: float = Field(default=0.99, gt=0, le=1)  # of the held-out windows' norms


def _transformer(num_known: int, settings: FastLogAdSettings) -> EventTransformer:
    return EventTransformer(
        num_known + 3,
        max_ids=settings.max_piece_events + 1,  # and [CLS]
        width=settings.width,
        num_heads=settings.num_heads,
        num_layers=settings.num_layers,
        dropout=settings.dropout,
    )


class Generator(nn.Module):
    """Predicts masked events, and makes windows unlikely."""

    def __init__(self, num_known: int, settings: FastLogAdSettings) -> None:
        super().__init__()
        self.mask = num_known + 1
        self.mask_ratio = settings.mask_ratio
        self.transformer = _transformer(num_known, settings)
        self.head = nn.Sequential(
            nn.Linear(settings.width, settings.width),
            nn.GELU(),
            nn.LayerNorm(settings.width),
            nn.Linear(settings.width, num_known + 1),
        )

    def forward(self, events_BL: Tensor, is_event_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Which events were masked, [B, L], and the logits of what stands there, [K, V]."""
        is_masked_BL = masked_at_random(is_event_BL, self.mask_ratio)
        hidden_BLE = self.transformer(events_BL.masked_fill(is_masked_BL, self.mask), is_event_BL)
        logits_KV: Tensor = self.head(hidden_BLE[is_masked_BL])
        return is_masked_BL, logits_KV


class Discriminator(nn.Module):
    """Reads [CLS] and a window's events."""

    def __init__(self, num_known: int, settings: FastLogAdSettings) -> None:
        super().__init__()
        self.cls = num_known + 2
        self.transformer = _transformer(num_known, settings)
        self.replaced = nn.Sequential(
            nn.Linear(settings.width, settings.width), nn.GELU(), nn.Linear(settings.width, 1)
        )

    def forward(self, events_BL: Tensor, is_event_BL: Tensor) -> Tensor:
        """[B, T, E]."""
        ids_BT = functional.pad(events_BL, (1, 0), value=self.cls)
        hidden_BTE: Tensor = self.transformer(ids_BT, functional.pad(is_event_BL, (1, 0), value=1))
        return hidden_BTE

    def norms(self, events_BL: Tensor, is_event_BL: Tensor) -> Tensor:
        """[B], from 0."""
        norms_B: Tensor = torch.linalg.vector_norm(self(events_BL, is_event_BL)[:, 0], dim=-1)
        return norms_B


class _Pair(nn.Module):
    """What the first phase trains."""

    def __init__(self, num_known: int, settings: FastLogAdSettings) -> None:
        super().__init__()
        self.generator = Generator(num_known, settings)
        self.discriminator = Discriminator(num_known, settings)


def masked_at_random(is_event_BL: Tensor, ratio: float) -> Tensor:
    """This share of each window's events, rounded down, but at least one; [B, L]."""
    dice_BL = torch.rand(is_event_BL.shape, device=is_event_BL.device)
    rank_BL = dice_BL.masked_fill(~is_event_BL, 2.0).argsort(dim=1).argsort(dim=1)
    num_masked_B = (is_event_BL.sum(dim=1) * ratio).long().clamp(min=1)
    return rank_BL < num_masked_B[:, None]


def replaced(events_BL: Tensor, is_masked_BL: Tensor, logits_KV: Tensor) -> Tensor:
    """The windows with other events in the masked places, drawn as they are unlikely, [B, L]."""
    chances_KV = logits_KV.detach().softmax(dim=1).neg_().add_(1).clamp_(min=LEAST)
    chances_KV.scatter_(1, events_BL[is_masked_BL][:, None], 0.0)
    return events_BL.masked_scatter(is_masked_BL, torch.multinomial(chances_KV, 1))


def replacement_loss(pair: _Pair, groups: Sequence[Group]) -> Tensor:
    """What stood in the masked places, and which events of both kinds of windows are replaced."""
    masked_loss = replaced_loss = torch.zeros((), device=groups[0][0].device)
    num_masked = num_events = 0
    for events_BL, is_event_BL in groups:
        is_masked_BL, logits_KV = pair.generator(events_BL, is_event_BL)
        masked_loss = masked_loss + functional.cross_entropy(
            logits_KV, events_BL[is_masked_BL], reduction="sum"
        )
        hidden_BTE = pair.discriminator(
            torch.cat([events_BL, replaced(events_BL, is_masked_BL, logits_KV)]),
            is_event_BL.repeat(2, 1),
        )
        is_replaced_BL = torch.cat([torch.zeros_like(is_masked_BL), is_masked_BL])
        replaced_loss = replaced_loss + functional.binary_cross_entropy_with_logits(
            pair.discriminator.replaced(hidden_BTE[:, 1:]).squeeze(-1),
            is_replaced_BL.float(),
            weight=is_event_BL.repeat(2, 1),
            reduction="sum",
        )
        num_masked += len(logits_KV)
        num_events += 2 * int(is_event_BL.sum())
    # No weights: no parameter has a part in both, and Adam does not heed a loss's scale.
    return masked_loss / num_masked + replaced_loss / num_events


def separation_loss(normal_B: Tensor, unlikely_B: Tensor, normal_weight: float) -> Tensor:
    """Of norms: small for normal windows, -log(1 - exp(-norm)) for the others."""
    pushed_B = -torch.log(-torch.expm1(-unlikely_B.clamp(min=LEAST)))
    return (normal_weight * normal_B.mean() + pushed_B.mean()) / 2


def fit(training: Training, settings: FastLogAdSettings, bench: Bench) -> Scorer:
    """Both networks first, then the discriminator alone, then its limit."""
    num_known = training.events.num_known
    kept, held = thresholds.hold_out(len(training.windows), settings.held_out_fraction, bench.seed)
    pieces, _ = cut([training.windows[number] for number in kept], settings.max_piece_events)
    bench.seed_weights(NAME)
    pair = _Pair(num_known, settings).to(bench.device)

    def groups(samples: NDArray[np.int64]) -> list[Group]:
        return grouped([pieces[sample] for sample in samples.tolist()], bench.device)

    def separate(samples: NDArray[np.int64]) -> Tensor:
        norms = []
        for events_BL, is_event_BL in groups(samples):
            with torch.no_grad():
                unlikely_BL = replaced(events_BL, *pair.generator(events_BL, is_event_BL))
            both_BL = torch.cat([events_BL, unlikely_BL])
            norms.append(pair.discriminator.norms(both_BL, is_event_BL.repeat(2, 1)).chunk(2))
        normal, unlikely = zip(*norms, strict=True)
        return separation_loss(torch.cat(normal), torch.cat(unlikely), settings.normal_weight)

    bench.trainer.train(
        "generation",
        pair,
        lambda samples: replacement_loss(pair, groups(samples)),
        num_samples=len(pieces),
        settings=settings,
    )
    bench.trainer.train(
        "separation", pair.discriminator, separate, num_samples=len(pieces), settings=settings
    )

    def norms(windows: Sequence[Ids]) -> Scores:
        known = [tuple(min(event, num_known) for event in ids) for ids in windows]
        return _norms(pair.discriminator, known, settings.max_piece_events, bench.device)

    held_out, number_of = distinct(training.windows[number] for number in held.tolist())
    limit = thresholds.limit_of(norms(held_out)[number_of], settings.limit_quantile)
    return lambda windows: thresholds.beyond(norms(windows), limit)


@torch.no_grad()
def _norms(
    discriminator: Discriminator, windows: Sequence[Ids], max_events: int, device: torch.device
) -> Scores:
    """The greatest norm of each window's pieces."""
    pieces, window_of_piece = cut(windows, max_events)
    norms = np.zeros(len(windows))
    for batch in batches(pieces):
        norms_B = discriminator.norms(*padded([pieces[number] for number in batch], device))
        np.maximum.at(norms, window_of_piece[batch], norms_B.double().cpu().numpy())
    return norms


METHOD = Method(
    name=NAME,
    title="FastLogAD",
    paper=(
        "Y. Lin, H. Deng, X. Li: FastLogAD: log anomaly detection with mask-guided pseudo anomaly "
        "generation and discrimination. arXiv 2404.08750, 2024"
    ),
    reads="templates",
    has_encoder=False,
    labels="normal windows only",
    settings=FastLogAdSettings(),
    fit=fit,
    rule="A window is an alarm if its vector is longer than those of nearly all held-out "
    "normal training windows.",
    differs=(
        "The separation is trained for 40 epochs; the public implementation trains it for up to "
        "100, until the norms of normal validation windows no longer shrink.",
        "An epoch sees at most 50,000 windows, drawn anew each time.",
        "A window of more than 511 events is read in pieces, and is as odd as its oddest one.",
        "An event is never replaced by itself; in the public implementation a pseudo-anomaly may "
        "be the normal window that it was made of.",
        "Half of a window's events are masked, rounded down, and at least one; there it is at most "
        "half.",
    ),
)
