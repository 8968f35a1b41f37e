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
from datetime import UTC, datetime
from math import sqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from loguru import logger
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.daily.champion.decisions import Champion
from logllm_core.daily.champion.drift_limits import DriftLimits
from logllm_core.daily.champion.fair_windows import newer_windows
from logllm_core.daily.ledger.cursors import new_parts
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.splits import SPLITS, Split
from logllm_core.scoring import DECISION
from logllm_core.store.intact_files import is_whole
from logllm_core.store.store import Artifact, Store

Scores = NDArray[np.float64]
NUM_BINS = 10  # of the scores, from 0 to 1
NUM_STANDARD_ERRORS = 3.0
KS_CRITICAL = 1.63  # times the root of (n + m) / (n m): passed by 1 % of samples that are alike


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one model said of some windows."""

    probabilities: Scores
    num_lines: int
    num_unseen_lines: int | None  # None where the training vocabulary is gone


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
    reference: Sample, new: Sample, limits: DriftLimits, *, dataset: str, run: str
) -> Drift:
    """Compare what one model said of two samples, neither of which is empty."""
    n, m = len(reference.probabilities), len(new.probabilities)
    assert n, "an empty reference"
    assert m, "no new windows"
    before, after = (float(np.mean(s.probabilities > DECISION)) for s in (reference, new))
    pooled = (before * n + after * m) / (n + m)
    unseen = None
    if new.num_unseen_lines is not None:
        unseen = new.num_unseen_lines / max(new.num_lines, 1)
    distance = kolmogorov_smirnov(reference.probabilities, new.probabilities)
    measures = (
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
    drift = Drift(
        dataset=dataset,
        run=run,
        num_reference_windows=n,
        num_windows=m,
        num_lines=new.num_lines,
        measures=measures,
        reference_counts=_histogram(reference),
        new_counts=_histogram(new),
    )
    logger.info("{}: {}", dataset, drift.sentence)
    return drift


def training_period(store: Store, dataset: str, champion: Champion) -> Sample | None:
    """What the champion said of the validation split of its own training.

    Without a validation split it is the test split of then. None where the predictions are gone.
    """
    wanted = {"trained": champion.trained, "windows": champion.windows}
    for predictions in store.all("predictions", dataset):
        if wanted.items() <= predictions.manifest["inputs"].items():
            splits: tuple[Split, ...] = ("validation", "test")
            found = (_probabilities(predictions, split) for split in splits)
            scores = next((one for one in found if len(one)), None)
            if scores is None:
                return None
            # The vocabulary is that of all lines of then.
            return Sample(probabilities=scores, num_lines=0, num_unseen_lines=0)
    return None


def newest_windows(
    store: Store,
    champion: Champion,
    *,
    messages: Artifact,
    windows: Artifact,
    predictions: Artifact,
) -> Sample | None:
    """What the champion said of test windows that were not there yet when it was trained.

    Where it cannot be told which these are, it is all of the test split. None without any.

    Args:
        messages, windows: the newest.
        predictions: the champion's, of these windows.
    """
    dataset = windows.dataset
    before = store.data_dir / "windows" / dataset / champion.windows
    newer = newer_windows(windows, [before], SPLITS)
    lists = tables.read(windows.path / "split=test", tables.WINDOWS, ["message_ids"])
    ids = pc.list_flatten(lists["message_ids"].filter(pa.array(newer.are_newer))).to_numpy()
    known = known_messages(store, dataset, champion)
    num_unseen = None
    if known is not None:
        texts = enumerate(read_vocabulary(messages))
        unseen = [message for message, text in texts if text not in known]
        num_unseen = int(np.isin(ids, unseen).sum())
    scores = _probabilities(predictions, "test")[newer.are_newer]
    if not len(scores):
        return None
    return Sample(probabilities=scores, num_lines=len(ids), num_unseen_lines=num_unseen)


def judged_since(store: Store, dataset: str, champion: Champion, since: datetime) -> Sample | None:
    """What the champion said of windows of new logs from a moment on; None where there are none.

    Args:
        since: with its time zone.
    """
    moment = pa.scalar(since.astimezone(UTC).replace(tzinfo=None), pa.timestamp("us"))
    columns = ["probability", "num_lines", "num_unseen_lines", "model", "judged"]
    chosen = []
    for part in new_parts(store, dataset):
        table = pq.read_table(part, columns=columns)
        is_chosen = pc.and_(
            pc.greater_equal(table["judged"], moment), pc.equal(table["model"], champion.trained)
        )
        chosen.append(table.filter(is_chosen))
    judged = pa.concat_tables(chosen) if chosen else None
    if not judged:
        return None
    unseen = judged["num_unseen_lines"]
    return Sample(
        probabilities=judged["probability"].to_numpy(),
        num_lines=pc.sum(judged["num_lines"]).as_py(),
        num_unseen_lines=None if unseen.null_count else pc.sum(unseen).as_py(),
    )


def drift_of(
    store: Store, dataset: str, champion: Champion, new: Sample | None, limits: DriftLimits
) -> Drift | None:
    """Drift against the training period; None where there is nothing to compare."""
    reference = training_period(store, dataset, champion) if new else None
    if new is None or reference is None:
        logger.info("{}: no drift measured: there is nothing to compare", dataset)
        return None
    return measure(reference, new, limits, dataset=dataset, run=champion.run)


def known_messages(store: Store, dataset: str, champion: Champion) -> set[str] | None:
    """The masked messages that the champion's training met; None where they are gone."""
    path = store.data_dir / "messages" / dataset / champion.messages
    if not is_whole(path):
        return None
    found = Artifact(kind="messages", dataset=dataset, fingerprint=champion.messages, path=path)
    return set(read_vocabulary(found))


def _probabilities(predictions: Artifact, split: Split) -> Scores:
    table = tables.read(predictions.path / f"split={split}", tables.PREDICTIONS, ["probability"])
    found: Scores = table["probability"].to_numpy()
    return found


def kolmogorov_smirnov(one: Scores, other: Scores) -> float:
    """The largest gap between the cumulative shares of two samples, neither of them empty."""
    values = np.concatenate([one, other])
    shares = [
        np.searchsorted(np.sort(own), values, side="right") / len(own) for own in (one, other)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def _chance(share: float, inverse_sizes: float) -> float:
    return NUM_STANDARD_ERRORS * sqrt(share * (1 - share) * inverse_sizes)


def _histogram(sample: Sample) -> tuple[int, ...]:
    counts: Iterable[int] = np.histogram(sample.probabilities, bins=NUM_BINS, range=(0, 1))[0]
    return tuple(int(count) for count in counts)
