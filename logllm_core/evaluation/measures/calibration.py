"""Whether a probability of 0.8 means that 8 of 10 such windows are anomalous."""

import numpy as np

from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.results.report import Bin, Calibration

NUM_BINS = 10
# Written as quotients: 3 / 10 is the number that "0.3" reads as, 3 * 0.1 is not.
INNER_EDGES = np.arange(1, NUM_BINS) / NUM_BINS


def calibrate(is_anomalous: Labels, probabilities: Scores) -> Calibration:
    """Compare the probability of "anomalous" with the share of anomalous windows, bin by bin.

    For two classes and the probability of one of them, as Naeini, Cooper and Hauskrecht define the
    expected calibration error (AAAI 2015). Guo et al. (ICML 2017), who have many classes, compare
    the confidence in the predicted class with its accuracy; the ten bins of equal width are theirs.
    """
    bins = np.digitize(probabilities, INNER_EDGES)
    num_windows = np.bincount(bins, minlength=NUM_BINS)
    num_anomalous = np.bincount(bins, weights=is_anomalous, minlength=NUM_BINS)
    sums = np.bincount(bins, weights=probabilities, minlength=NUM_BINS)
    total = len(probabilities)
    return Calibration(
        ece=float(np.abs(sums - num_anomalous).sum()) / total if total else None,
        brier=float(np.square(probabilities - is_anomalous).mean()) if total else None,
        bins=tuple(
            Bin(
                low=number / NUM_BINS,
                high=(number + 1) / NUM_BINS,
                num_windows=int(count),
                mean_probability=float(sums[number] / count) if count else None,
                anomalous_fraction=float(num_anomalous[number] / count) if count else None,
            )
            for number, count in enumerate(num_windows)
        ),
    )
