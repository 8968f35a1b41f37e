"""Of several trainings the one that a report is about, chosen by the validation split alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from logllm_core import tables
from logllm_core.evaluation.measures.metrics import Labels, Scores, rank
from logllm_core.store.store import Artifact

LEAST = float(np.finfo(np.float64).eps)  # a probability of 0 for what is so would cost infinitely


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedFigures:
    """What the validation split says of one seed."""

    seed: int
    pr_auc: float | None  # None with one class
    log_loss: float  # in nats a window


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The seed that was kept, and what decided."""

    seed: int
    validation: tuple[SeedFigures, ...]  # of all seeds


def choose_seed(predictions: Mapping[int, Artifact]) -> Kept:
    """The seed with the highest PR-AUC on the validation split.

    Of equals that with the lower log loss, then the smaller seed. With one class, where there is
    no PR-AUC, the log loss decides.

    Args:
        predictions: by seed, all of the same windows, one validation window at least.
    """
    figures = tuple(_figures(seed, made) for seed, made in predictions.items())
    return Kept(seed=min(figures, key=_order).seed, validation=figures)


def _order(figures: SeedFigures) -> tuple[float, float, int]:
    """The least is kept; sums in another order differ beyond nine places, and are no victory."""
    return -round(figures.pr_auc or 0.0, 9), round(figures.log_loss, 9), figures.seed


def _figures(seed: int, predictions: Artifact) -> SeedFigures:
    columns = ["probability", "is_anomalous"]
    table = tables.read(predictions.path / "split=validation", tables.PREDICTIONS, columns)
    labels: Labels = table["is_anomalous"].to_numpy().astype(bool)
    scores: Scores = table["probability"].to_numpy()
    assert len(labels)
    of_label = np.maximum(np.where(labels, scores, 1 - scores), LEAST)
    return SeedFigures(
        seed=seed, pr_auc=rank(labels, scores).pr_auc, log_loss=float(-np.log(of_label).mean())
    )
