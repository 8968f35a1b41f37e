"""95 % intervals of the figures, by resampling blocks of test windows.

Windows that follow each other resemble each other: one failure makes alerts for minutes. Drawn one
by one, they would count as so many independent witnesses, and every interval would be too narrow.
So whole blocks of neighbours in log order are drawn (Kuensch, Annals of Statistics 17(3), 1989),
on a circle, so that the first and the last windows are drawn as often as the others (Politis and
Romano, "A circular block-resampling procedure for stationary data", 1992). A block is the root of
the number of windows long: more than the n^(1/3) that serves the variance best where the dependence
is short, because failures are long.

An interval spans the middle 95 % of 1,000 resamples. It tells how much the figure depends on which
stretches of this log happened to be the test part; nothing about another log, and nothing about
another seed. A figure that no resample can change (a precision of 1) has an interval of no width.

Axis names: `W` windows, `R` resamples, `B` blocks, `G` groups of windows with neighbouring scores,
`K` the four kinds of verdict.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from logllm_core.evaluation.measures.metrics import Labels, Scores, rates
from logllm_core.results.figures import Difference, Interval, PairedFigure
from logllm_core.scoring import DECISION

NUM_RESAMPLES = 1_000
SEED = 0
OUTSIDE_PERCENT = 2.5  # on either side of an interval
MIN_DEFINED_FRACTION = 0.5  # of the resamples, or there is no interval
NUM_CELLS = 1 << 22  # of a table [W, R] in memory at once

Weights = NDArray[np.int32]
Bounds = Mapping[str, Interval | None]  # by figure; None where too few resamples define it
Measure = Callable[[Weights], dict[str, Scores]]  # figures of each resample, NaN where undefined
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorIntervals:
    """The intervals of a detector's figures."""

    at_decision: Bounds
    at_validation_threshold: Bounds | None  # None without such a threshold
    areas: Bounds


def intervals(
    is_anomalous: Labels, scores: Mapping[str, Scores], thresholds: Mapping[str, float | None]
) -> dict[str, DetectorIntervals]:
    """The intervals of each detector's figures; all detectors see the same resamples.

    Args:
        is_anomalous: the labels of the test windows, in log order.
        scores: each detector's.
        thresholds: each detector's own threshold, chosen elsewhere; None without one.

    Returns:
        By detector. Where fewer than half of the resamples define a figure, it has no interval;
        else those that do not are left out of it.
    """
    measures: dict[tuple[str, str], Measure] = {}
    for name, of_detector in scores.items():
        measures[name, "at_decision"] = _rates_at(is_anomalous, of_detector, DECISION)
        threshold = thresholds[name]
        if threshold is not None:
            measures[name, "at_validation_threshold"] = _rates_at(
                is_anomalous, of_detector, threshold
            )
        measures[name, "areas"] = Ranked.of(is_anomalous, of_detector).areas
    bounds = {
        key: {figure: _interval(values) for figure, values in figures.items()}
        for key, figures in _resample(len(is_anomalous), measures).items()
    }
    return {
        name: DetectorIntervals(
            at_decision=bounds[name, "at_decision"],
            at_validation_threshold=bounds.get((name, "at_validation_threshold")),
            areas=bounds[name, "areas"],
        )
        for name in scores
    }


def difference(
    is_anomalous: Labels, scores: Scores, other: Scores, figure: PairedFigure
) -> Difference | None:
    """One detector's figure minus another's on the same windows, with its interval.

    Both are measured on the same resamples, so what is hard for both cancels out. F1 is that at
    the fixed decision. None where a figure is undefined.
    """
    return differences(is_anomalous, scores, [other], figure)[0]


def differences(
    is_anomalous: Labels, scores: Scores, others: Sequence[Scores], figure: PairedFigure
) -> list[Difference | None]:
    """The same against several others, all on the same resamples."""
    measures: list[Measure] = [
        _rates_at(is_anomalous, judged, DECISION)
        if figure == "f1"
        else Ranked.of(is_anomalous, judged).areas
        for judged in (scores, *others)
    ]
    once_WR = np.ones((len(is_anomalous), 1), dtype=np.int32)  # the windows as they are
    first, *values = (measure(once_WR)[figure].item() for measure in measures)
    if np.isnan(first) or np.isnan(values).all():
        return [None] * len(others)
    drawn = _resample(len(is_anomalous), dict(enumerate(measures)))
    return [
        None
        if np.isnan(value)
        else Difference(
            difference=first - value,
            interval=_interval(drawn[0][figure] - drawn[number][figure]),
        )
        for number, value in enumerate(values, start=1)
    ]


def _resample(num_windows: int, measures: Mapping[Key, Measure]) -> dict[Key, dict[str, Scores]]:
    """The figures of all resamples, by measure."""
    parts: dict[Key, list[dict[str, Scores]]] = {key: [] for key in measures}
    for weights_WR in resamples(num_windows):
        for key, measure in measures.items():
            parts[key].append(measure(weights_WR))
    return {
        key: {figure: np.concatenate([part[figure] for part in drawn]) for figure in drawn[0]}
        for key, drawn in parts.items()
    }


def resamples(num_windows: int) -> Iterator[Weights]:
    """How often each resample holds each window, [W, R], a part of the resamples at a time.

    A resample is as long as the log: its last block is cut.
    """
    length = ceil(sqrt(num_windows))
    num_blocks = ceil(num_windows / length) if num_windows else 0
    lengths = np.full(num_blocks, length)
    lengths[-1:] = num_windows - length * (num_blocks - 1)
    step = max(NUM_CELLS // max(num_windows, 1), 1)
    generator = np.random.default_rng(SEED)
    for start in range(0, NUM_RESAMPLES, step):
        num_columns = min(step, NUM_RESAMPLES - start)
        # A row a resample, so that the resamples do not depend on how they are parted.
        starts_RB = generator.integers(max(num_windows, 1), size=(num_columns, num_blocks))
        yield _weigh(starts_RB, lengths, num_windows)


def _weigh(starts_RB: NDArray[np.int64], lengths: NDArray[np.int64], num_windows: int) -> Weights:
    """How many blocks cover each window, on the circle."""
    num_columns = len(starts_RB)
    changes_WR = np.zeros((num_windows, num_columns), dtype=np.int32)
    columns = np.arange(num_columns)
    for block, length in enumerate(lengths):
        starts, ends = starts_RB[:, block], starts_RB[:, block] + length
        changes_WR[starts, columns] += 1
        changes_WR[ends % num_windows, columns] -= 1
        changes_WR[0] += ends >= num_windows
    return np.cumsum(changes_WR, axis=0, dtype=np.int32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """A detector's windows, grouped by score once for all resamples.

    Only the scores of anomalous windows matter to the curves: group `g` holds the windows whose
    score is the `g`-th highest of these, and apart from them the normal windows that lie between
    it and the next higher one.
    """

    anomalous_GW: csr_matrix
    tied_GW: csr_matrix  # normal windows with the score of the group
    between_GW: csr_matrix  # normal windows above it; the last row: below all anomalous windows

    @classmethod
    def of(cls, is_anomalous: Labels, scores: Scores) -> "Ranked":
        values = np.unique(scores[is_anomalous])[::-1]
        groups = np.searchsorted(-values, -scores)  # how many of the values are higher
        is_tied = np.append(values, np.nan)[groups] == scores

        def members(is_member: Labels) -> csr_matrix:
            windows = np.flatnonzero(is_member)
            ones = np.ones(len(windows), dtype=np.int32)
            shape = (len(values) + 1, len(scores))
            return csr_matrix((ones, (groups[windows], windows)), shape=shape)

        return cls(
            anomalous_GW=members(is_anomalous),
            tied_GW=members(~is_anomalous & is_tied),
            between_GW=members(~is_anomalous & ~is_tied),
        )

    def areas(self, weights_WR: Weights) -> dict[str, Scores]:
        """Average precision and the area under the ROC curve of each resample."""
        anomalous_GR = (self.anomalous_GW @ weights_WR).astype(np.float64)
        tied_GR = (self.tied_GW @ weights_WR).astype(np.float64)
        true_GR = anomalous_GR.cumsum(axis=0)
        false_GR = (self.between_GW @ weights_WR + tied_GR).cumsum(axis=0)
        num_anomalous, num_normal = true_GR[-1], false_GR[-1]
        precision_GR = true_GR / np.maximum(true_GR + false_GR, 1)
        # Of the pairs of an anomalous and a normal window, those in order; tied, they count half.
        below_GR = num_normal - false_GR + tied_GR / 2
        num_in_order = (anomalous_GR * below_GR).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where a class is missing
            pr_auc = (anomalous_GR * precision_GR).sum(axis=0) / num_anomalous
            roc_auc = num_in_order / (num_anomalous * num_normal)
        return {"pr_auc": np.where(num_normal, pr_auc, np.nan), "roc_auc": roc_auc}


def _rates_at(is_anomalous: Labels, scores: Scores, threshold: float) -> Measure:
    """Measures the rates of the verdicts at one threshold."""
    kinds = 2 * is_anomalous + (scores > threshold)  # true negative, false alarm, missed, found
    ones = np.ones(len(kinds), dtype=np.int32)
    members_KW = csr_matrix((ones, (kinds, np.arange(len(kinds)))), shape=(4, len(kinds)))
    return partial(_rates, members_KW)


def _rates(members_KW: csr_matrix, weights_WR: Weights) -> dict[str, Scores]:
    tn, fp, fn, tp = (members_KW @ weights_WR).astype(np.float64)
    return rates(tp, fp, fn, tn)


def _interval(values: Scores) -> Interval | None:
    defined = values[~np.isnan(values)]
    if len(defined) < MIN_DEFINED_FRACTION * len(values):
        return None
    low, high = np.percentile(defined, [OUTSIDE_PERCENT, 100 - OUTSIDE_PERCENT])
    return Interval(float(low), float(high))
