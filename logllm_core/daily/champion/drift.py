"""Drift: how far new windows have moved from those of the champion's training.

Three measures, each against a limit: the share of lines whose message the training never met, the
share of windows called anomalous, and the distance of the two distributions of scores (the
two-sample Kolmogorov-Smirnov statistic: the largest gap between their cumulative shares). A few
windows differ from any others by chance, so a measure passes its limit only where that much is
left after chance is taken off: three standard errors of a share, the 1 % critical value of the
statistic. Windows that follow each other resemble each other, which makes even this too little.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from loguru import logger

from logllm_core.daily.champion.decisions import Champion
from logllm_core.daily.champion.drift_limits import DriftLimits
from logllm_core.daily.champion.scored_windows import ScoredWindows, Scores, training_period
from logllm_core.scoring import DECISION
from logllm_core.store.store import Store

NUM_BINS = 10  # of the scores, from 0 to 1
NUM_STANDARD_ERRORS = 3.0
KS_CRITICAL = 1.63  # times the root of (n + m) / (n m): passed by 1 % of samples that are alike


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One way to look at drift."""

    name: str
    reference: float | None  # in the training period; None where it has none of its own
    new: float | None  # None where it cannot be measured
    change: float
    limit: float
    chance: float  # as much of the change as chance may make

    @property
    def is_exceeded(self) -> bool:
        return self.change - self.chance > self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """New windows against the training period."""

    dataset: str
    run: str  # of the champion that judged both
    num_reference_windows: int
    num_windows: int
    num_lines: int
    measures: tuple[Measure, ...]
    reference_counts: tuple[int, ...]  # windows by score, in NUM_BINS bins of one width
    new_counts: tuple[int, ...]

    @property
    def is_exceeded(self) -> bool:
        return any(measure.is_exceeded for measure in self.measures)

    @property
    def sentence(self) -> str:
        passed = [measure for measure in self.measures if measure.is_exceeded]
        on = f"{self.num_windows:,} new windows"
        if not passed:
            return f"No drift beyond the limits and beyond chance in {on}."
        named = "; ".join(f"{m.name} {m.new:.3f} (limit {m.limit:g})" for m in passed)
        return f"Drift in {on}: {named}."


def measure(
    reference: ScoredWindows, new: ScoredWindows, limits: DriftLimits, *, dataset: str, run: str
) -> Drift:
    """Compare what one model said of two samples, neither of which is empty."""
    assert len(reference.probabilities), "an empty reference"
    assert len(new.probabilities), "no new windows"
    drift = Drift(
        dataset=dataset,
        run=run,
        num_reference_windows=len(reference.probabilities),
        num_windows=len(new.probabilities),
        num_lines=new.num_lines,
        measures=_measures(reference, new, limits),
        reference_counts=_histogram(reference),
        new_counts=_histogram(new),
    )
    logger.info("{}: {}", dataset, drift.sentence)
    return drift


def _measures(
    reference: ScoredWindows, new: ScoredWindows, limits: DriftLimits
) -> tuple[Measure, ...]:
    n, m = len(reference.probabilities), len(new.probabilities)
    before, after = (float(np.mean(s.probabilities > DECISION)) for s in (reference, new))
    pooled = (before * n + after * m) / (n + m)
    unseen = None
    if new.num_unseen_lines is not None:
        unseen = new.num_unseen_lines / max(new.num_lines, 1)
    distance = kolmogorov_smirnov(reference.probabilities, new.probabilities)
    return (
        Measure(
            name="share of lines with an unseen message",
            reference=None,  # 0 by definition
            new=unseen,
            change=unseen or 0.0,
            limit=limits.max_unseen_fraction,
            chance=_chance(unseen or 0.0, 1 / m),  # lines of a window come together
        ),
        Measure(
            name="share of anomalous windows",
            reference=before,
            new=after,
            change=abs(after - before),
            limit=limits.max_rate_change,
            chance=_chance(pooled, 1 / n + 1 / m),
        ),
        Measure(
            name="distance of the scores (KS)",
            reference=None,
            new=distance,
            change=distance,
            limit=limits.max_ks,
            chance=KS_CRITICAL * sqrt((n + m) / (n * m)),
        ),
    )


def drift_of(
    store: Store, dataset: str, champion: Champion, new: ScoredWindows | None, limits: DriftLimits
) -> Drift | None:
    """Drift against the training period; None where there is nothing to compare."""
    reference = training_period(store, dataset, champion) if new else None
    if new is None or reference is None:
        logger.info("{}: no drift measured: there is nothing to compare", dataset)
        return None
    return measure(reference, new, limits, dataset=dataset, run=champion.run)


def kolmogorov_smirnov(scores: Scores, others: Scores) -> float:
    """The largest gap between the cumulative shares of two samples, neither of them empty."""
    values = np.concatenate([scores, others])
    shares = [
        np.searchsorted(np.sort(some), values, side="right") / len(some)
        for some in (scores, others)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def _chance(share: float, inverse_sizes: float) -> float:
    return NUM_STANDARD_ERRORS * sqrt(share * (1 - share) * inverse_sizes)


def _histogram(sample: ScoredWindows) -> tuple[int, ...]:
    counts: Iterable[int] = np.histogram(sample.probabilities, bins=NUM_BINS, range=(0, 1))[0]
    return tuple(int(count) for count in counts)
