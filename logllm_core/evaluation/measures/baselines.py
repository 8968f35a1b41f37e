"""Simple detectors that stand beside the model in every report.

Each is fitted on the training windows alone and scores the windows that the model scores; a score
above 0.5 is an alarm. Where one of these is as good as the model, the report says so.

Windows repeat: of the 460,048 training sessions of HDFS, 26,814 differ. A window is its *bag* here,
its messages with their numbers but without their order. Models are fitted on the distinct pairs of
bag and label, each weighted by its windows. For the regressions that is the sum over all windows
with equal terms taken together, so the same optimum; the optimiser may stop a little elsewhere. For
the trees it is the same fit: equal bags never part, so impurities and leaves are those of all
windows. But where several splits part the training windows equally well, rounding can choose
another of them, which may put a bag that training lacks into another leaf.

Axis names: `B` bags, `M` messages, `E` encoder width.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.logs.windows.window_artifact import Windows

Ids = tuple[int, ...]
Scorer = Callable[[Windows], Scores]
ALWAYS = "always anomalous"
MAX_ITERATIONS = 2_000  # of the regression on counts
NUM_CELLS = 1 << 22  # of distances in memory at once
MAX_TREE_MESSAGES = 50_000  # a tree looks at each message at each branch: minutes, then hours
MAX_BAGS = 200_000  # distinct ones of training: each is compared with each new one, or has a vector


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the baselines may learn from."""

    train: Windows
    # By message id: the share of its lines in training windows that are alerts; of all lines for a
    # message that training lacks. None where lines have no labels.
    alert_rates: NDArray[np.float64] | None
    # The frozen encoder's, by message id. None where there are too many messages to encode.
    vectors_ME: NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Baselines:
    """The detectors, and why others could not be had here."""

    scorers: dict[str, Scorer]
    not_applicable: dict[str, str]


def fit_baselines(evidence: Evidence) -> Baselines:
    """Fit every baseline that the training windows allow, by the names the report shows."""
    scorers: dict[str, Scorer] = {}
    not_applicable: dict[str, str] = {}
    training = _Training.of(evidence)
    for name, fit in BASELINES.items():
        try:
            if not len(evidence.train) and name != ALWAYS:
                raise _NotApplicableError("There are no training windows.")
            scorers[name] = fit(training)
        except _NotApplicableError as reason:
            not_applicable[name] = str(reason)
    return Baselines(scorers=scorers, not_applicable=not_applicable)


def count_messages(bags: Sequence[Ids], columns: NDArray[np.int64]) -> csr_matrix:
    """How often each message occurs in each bag, [B, M].

    Args:
        columns: by message id, its column; messages beyond, or with -1, are left out.
    """
    rows = np.repeat(np.arange(len(bags)), [len(ids) for ids in bags])
    ids = np.fromiter((message for bag in bags for message in bag), dtype=np.int64)
    found = np.append(columns, -1)[np.minimum(ids, len(columns))]
    is_known = found >= 0
    places = (rows[is_known], found[is_known])
    return csr_matrix(
        (np.ones(len(places[0])), places), shape=(len(bags), int(columns.max(initial=-1)) + 1)
    )


class _NotApplicableError(Exception):
    """Why a baseline cannot be fitted here, as a short sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Training:
    """The training windows, each distinct bag once."""

    evidence: Evidence
    labels: Labels
    bags: list[Ids]
    places: NDArray[np.int64]  # by window, its bag
    columns: NDArray[np.int64]  # by message id, its column among the messages of training, or -1
    counts_BM: csr_matrix

    @classmethod
    def of(cls, evidence: Evidence) -> "_Training":
        assert evidence.train.is_anomalous is not None
        bags, places = _distinct_bags(evidence.train)
        known = np.unique(np.fromiter((i for bag in bags for i in bag), dtype=np.int64))
        columns = np.full(known.max(initial=-1) + 1, -1, dtype=np.int64)
        columns[known] = np.arange(len(known))
        return cls(
            evidence=evidence,
            labels=evidence.train.is_anomalous,
            bags=bags,
            places=places,
            columns=columns,
            counts_BM=count_messages(bags, columns),
        )

    def tally(self) -> tuple[Scores, Scores]:
        """The normal and the anomalous windows of each bag."""
        normal, anomalous = (
            np.bincount(self.places[self.labels == label], minlength=len(self.bags))
            for label in (False, True)
        )
        return normal.astype(np.float64), anomalous.astype(np.float64)

    def check_size(self) -> None:
        if len(self.bags) > MAX_BAGS:
            raise _NotApplicableError(
                f"More than {MAX_BAGS:,} training windows differ in their messages."
            )

    def rows(self) -> tuple[NDArray[np.int64], Labels, Scores]:
        """What to fit on: bag, label and number of windows of each distinct pair."""
        if self.labels.all() or not self.labels.any():
            kind = "anomalous" if self.labels.any() else "normal"
            raise _NotApplicableError(f"All training windows are {kind}.")
        numbers = np.concatenate(self.tally())
        pairs = np.flatnonzero(numbers)
        return pairs % len(self.bags), pairs >= len(self.bags), numbers[pairs]


def _distinct(keys: Iterable[Ids]) -> tuple[list[Ids], NDArray[np.int64]]:
    """The distinct keys in order of appearance, and the place of each key among them."""
    places: dict[Ids, int] = {}
    found = np.fromiter((places.setdefault(key, len(places)) for key in keys), dtype=np.int64)
    return list(places), found


def _distinct_bags(windows: Windows) -> tuple[list[Ids], NDArray[np.int64]]:
    sequences, place_of_window = _distinct(windows.message_ids)
    bags, place_of_sequence = _distinct(tuple(sorted(ids)) for ids in sequences)
    return bags, place_of_sequence[place_of_window]


def _by_bag(score_bags: Callable[[list[Ids]], Scores]) -> Scorer:
    """Scores each distinct bag once."""

    def score(windows: Windows) -> Scores:
        bags, places = _distinct_bags(windows)
        return score_bags(bags)[places] if bags else np.zeros(0)

    return score


def _by_counts(columns: NDArray[np.int64], score_counts: Callable[[csr_matrix], Scores]) -> Scorer:
    return _by_bag(lambda bags: score_counts(count_messages(bags, columns)))


def _always_anomalous(_: _Training) -> Scorer:
    return lambda windows: np.ones(len(windows))


def _never_seen_message(training: _Training) -> Scorer:
    """A message that no normal training window holds is an alarm."""
    normal, _ = training.tally()
    known = {message for place in np.flatnonzero(normal) for message in training.bags[place]}
    return _by_bag(lambda bags: np.array([float(not known.issuperset(bag)) for bag in bags]))


def _highest_alert_rate(training: _Training) -> Scorer:
    """The highest share of alerts that the lines of any of the window's messages had in training.

    A message that training lacks has the share of all training lines.
    """
    if training.evidence.alert_rates is None:
        raise _NotApplicableError("The lines have no labels.")
    rates = training.evidence.alert_rates
    return _by_bag(lambda bags: np.array([rates[list(bag)].max() for bag in bags]))


def _exact_sequence(training: _Training) -> Scorer:
    """The anomalous share of the training windows with that very sequence; unseen: of all."""
    sequences, places = _distinct(training.evidence.train.message_ids)
    shares = np.bincount(places, weights=training.labels) / np.bincount(places)
    known = dict(zip(sequences, shares.tolist(), strict=True))
    overall = float(training.labels.mean())
    return lambda windows: np.array([known.get(ids, overall) for ids in windows.message_ids])


def _logistic_regression(training: _Training) -> Scorer:
    bags, labels, weights = training.rows()
    scaler = MaxAbsScaler().fit(training.counts_BM)
    model = LogisticRegression(C=100, max_iter=MAX_ITERATIONS)
    model.fit(scaler.transform(training.counts_BM[bags]), labels, sample_weight=weights)
    return _by_counts(
        training.columns, lambda counts: model.predict_proba(scaler.transform(counts))[:, 1]
    )


def _of_trees(make: Callable[[], DecisionTreeClassifier]) -> "Fit":
    """Trees of scikit-learn; its histogram boosting would want the counts unpacked."""

    def fit(training: _Training) -> Scorer:
        bags, labels, weights = training.rows()
        if training.counts_BM.shape[1] > MAX_TREE_MESSAGES:
            raise _NotApplicableError(
                f"Training windows hold more than {MAX_TREE_MESSAGES:,} distinct messages."
            )
        model = make().fit(training.counts_BM[bags], labels, sample_weight=weights)
        return _by_counts(training.columns, lambda counts: model.predict_proba(counts)[:, 1])

    return fit


def _nearest_neighbour(training: _Training) -> Scorer:
    """The anomalous share of the training windows with the nearest bag, by Euclidean distance.

    Distances of counts are often equal; then the windows of all nearest bags count. (scikit-learn's
    neighbours would take one of them, which one depends on the number of threads.) Messages that
    training lacks put all its bags equally farther away, so they need no column.
    """
    training.check_size()
    normal, anomalous = training.tally()
    known = dict(zip(training.bags, (anomalous / (anomalous + normal)).tolist(), strict=True))
    squares_B = np.asarray(training.counts_BM.multiply(training.counts_BM).sum(axis=1))

    def score_new(bags: list[Ids]) -> Scores:
        counts = count_messages(bags, training.columns)
        # Whole numbers, so exact; the own square of the window changes no order.
        distances = squares_B - 2 * (training.counts_BM @ counts.toarray().T)
        is_nearest = (distances == distances.min(axis=0)).astype(np.float64)
        num_anomalous, num_normal = anomalous @ is_nearest, normal @ is_nearest
        shares: Scores = num_anomalous / (num_anomalous + num_normal)
        return shares

    def score_bags(bags: list[Ids]) -> Scores:
        scores = np.array([known.get(bag, np.nan) for bag in bags])  # known: at distance 0
        new = np.flatnonzero(np.isnan(scores))
        step = max(NUM_CELLS // sum(training.counts_BM.shape), 1)
        for start in range(0, len(new), step):
            part = new[start : start + step]
            scores[part] = score_new([bags[place] for place in part])
        return scores

    return _by_bag(score_bags)


def _mean_vector(training: _Training) -> Scorer:
    """What the frozen encoder tells without the decoder: the mean over a window's messages."""
    vectors_ME = training.evidence.vectors_ME
    if vectors_ME is None:
        raise _NotApplicableError("There are too many messages to encode.")
    training.check_size()
    every = np.arange(len(vectors_ME))

    def average(counts: csr_matrix) -> NDArray[np.float64]:
        means: NDArray[np.float64] = (counts @ vectors_ME) / np.asarray(counts.sum(axis=1))
        return means

    bags, labels, weights = training.rows()
    means_BE = average(count_messages(training.bags, every))[bags]
    scaler = StandardScaler().fit(means_BE, sample_weight=weights)
    # Vectors resemble each other, where lbfgs creeps; this takes a few steps, each of B * E * E.
    model = LogisticRegression(solver="newton-cholesky")
    model.fit(scaler.transform(means_BE), labels, sample_weight=weights)
    return _by_counts(
        every, lambda counts: model.predict_proba(scaler.transform(average(counts)))[:, 1]
    )


Fit = Callable[[_Training], Scorer]
BASELINES: Mapping[str, Fit] = {
    ALWAYS: _always_anomalous,
    "message never seen in a normal training window": _never_seen_message,
    "highest anomaly rate of any message": _highest_alert_rate,
    "exact-sequence lookup": _exact_sequence,
    "logistic regression on message counts": _logistic_regression,
    "decision tree on message counts": _of_trees(lambda: DecisionTreeClassifier(random_state=0)),
    "gradient boosting on message counts": _of_trees(
        lambda: GradientBoostingClassifier(random_state=0)
    ),
    "1-nearest neighbour on message counts": _nearest_neighbour,
    "logistic regression on the encoder's mean vector": _mean_vector,
}
