"""Whether a probability of 0.8 means that 8 of 10 such windows are anomalous."""

from dataclasses import dataclass

import numpy as np

from logllm_core.evaluation.measures.metrics import Labels, Scores

NUM_BINS = 10
# Written as quotients: 3 / 10 is the number that "0.3" reads as, 3 * 0.1 is not.
INNER_EDGES = np.arange(1, NUM_BINS) / NUM_BINS


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """The windows with a probability from `low` up to, not including, `high` (the last: 1 too)."""

    low: float
    high: float
    num_windows: int
    mean_probability: float | None  # None in an empty bin
    anomalous_fraction: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Probabilities against what came true; None without windows."""

    ece: float | None  # expected calibration error: mean gap, weighted by windows
    brier: float | None  # mean squared distance between probability and label (Brier, 1950)
    bins: tuple[Bin, ...]


def calibrate(is_anomalous: Labels, probabilities: Scores) -> Calibration:
    """Compare the probability of "anomalous" with the share of anomalous windows, bin by bin.

    For two classes and the probability of one of them, as Naeini, Cooper and Hauskrecht define the
    expected calibration error (AAAI 2015). Guo et al. (ICML 2017), who have many classes, compare
    the confidence in the predicted class with its accuracy; the ten bins of equal width are theirs.
    """
    places = np.digitize(probabilities, INNER_EDGES)
    num_windows = np.bincount(places, minlength=NUM_BINS)
    num_anomalous = np.bincount(places, weights=is_anomalous, minlength=NUM_BINS)
    sums = np.bincount(places, weights=probabilities, minlength=NUM_BINS)
    total = len(probabilities)
    return Calibration(
        ece=float(np.abs(sums - num_anomalous).sum()) / total if total else None,
        brier=float(np.square(probabilities - is_anomalous).mean()) if total else None,
        bins=tuple(
            Bin(
                low=place / NUM_BINS,
                high=(place + 1) / NUM_BINS,
                num_windows=int(count),
                mean_probability=float(sums[place] / count) if count else None,
                anomalous_fraction=float(num_anomalous[place] / count) if count else None,
            )
            for place, count in enumerate(num_windows)
        ),
    )
