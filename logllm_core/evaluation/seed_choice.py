"""Of several trainings the one that a report is about, chosen by the validation split alone."""

from collections.abc import Mapping

import numpy as np

from logllm_core.evaluation.measures.metrics import rank
from logllm_core.evaluation.measures.scored_windows import read_labels, read_scores
from logllm_core.results.figures import KeptSeed, SeedFigures
from logllm_core.store.store import Artifact

LEAST = float(np.finfo(np.float64).eps)  # a probability of 0 for what is so would cost infinitely


def choose_seed(predictions: Mapping[int, Artifact]) -> KeptSeed:
    """The seed with the highest PR-AUC on the validation split.

    Of equals that with the lower log loss, then the smaller seed. With one class, where there is
    no PR-AUC, the log loss decides.

    Args:
        predictions: by seed, all of the same windows, one validation window at least.
    """
    figures = tuple(_figures(seed, made) for seed, made in predictions.items())
    return KeptSeed(seed=min(figures, key=_order).seed, validation=figures)


def _order(figures: SeedFigures) -> tuple[float, float, int]:
    """The least is kept; sums in another order differ beyond nine places, and are no victory."""
    return -round(figures.pr_auc or 0.0, 9), round(figures.log_loss, 9), figures.seed


def _figures(seed: int, predictions: Artifact) -> SeedFigures:
    labels, scores = read_labels(predictions, "validation"), read_scores(predictions, "validation")
    assert len(labels)
    of_label = np.maximum(np.where(labels, scores, 1 - scores), LEAST)
    return SeedFigures(
        seed=seed, pr_auc=rank(labels, scores).pr_auc, log_loss=float(-np.log(of_label).mean())
    )
