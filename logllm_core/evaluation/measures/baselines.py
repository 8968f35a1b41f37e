"""Simple detectors that stand beside the model in every report.

Each is fitted on the training windows alone and scores the windows that the model scores; a score
above 0.5 is an alarm. Where one of these is as good as the model, the report says so.

Windows repeat: of the 460,048 training sessions of HDFS, 26,814 differ. A window is its *bag* here,
see `bags`. Models are fitted on the distinct pairs of
bag and label, each weighted by its windows. For the regressions that is the sum over all windows
with equal terms taken together, so the same optimum; the optimiser may stop a little elsewhere. For
the trees it is the same fit: equal bags never part, so impurities and leaves are those of all
windows. But where several splits part the training windows equally well, rounding can choose
another of them, which may put a bag that training lacks into another leaf.

Axis names: `B` bags, `M` messages, `E` encoder width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from logllm_core.evaluation.measures.bags import Ids, count_messages, distinct, distinct_bags
from logllm_core.evaluation.measures.metrics import Scores
from logllm_core.evaluation.measures.training_bags import Evidence, NotApplicableError, TrainingBags
from logllm_core.logs.windows.window_artifact import Windows

Scorer = Callable[[Windows], Scores]
ALWAYS = "always anomalous"
MAX_ITERATIONS = 2_000  # of the regression on counts
NUM_CELLS = 1 << 22  # of distances in memory at once
MAX_TREE_MESSAGES = 50_000  # a tree looks at each message at each branch: minutes, then hours


@dataclass(frozen=True, kw_only=True, slots=True)
class Baselines:
    """The detectors, and why others could not be had here."""

    scorers: dict[str, Scorer]
    not_applicable: dict[str, str]


def fit_baselines(evidence: Evidence) -> Baselines:
    """Fit every baseline that the training windows allow, by the names the report shows."""
    scorers: dict[str, Scorer] = {}
    not_applicable: dict[str, str] = {}
    training = TrainingBags.of(evidence)
    for name, fit in BASELINES.items():
        try:
            if not len(evidence.train) and name != ALWAYS:
                raise NotApplicableError("There are no training windows.")
            scorers[name] = fit(training)
        except NotApplicableError as reason:
            not_applicable[name] = str(reason)
    return Baselines(scorers=scorers, not_applicable=not_applicable)


def _by_bag(score_bags: Callable[[list[Ids]], Scores]) -> Scorer:
    """Scores each distinct bag once."""

    def score(windows: Windows) -> Scores:
        bags, bag_of_window = distinct_bags(windows.message_ids)
        return score_bags(bags)[bag_of_window] if bags else np.zeros(0)

    return score


def _by_counts(columns: NDArray[np.int64], score_counts: Callable[[csr_matrix], Scores]) -> Scorer:
    return _by_bag(lambda bags: score_counts(count_messages(bags, columns)))


def _always_anomalous(_: TrainingBags) -> Scorer:
    return lambda windows: np.ones(len(windows))


def _never_seen_message(training: TrainingBags) -> Scorer:
    """A message that no normal training window holds is an alarm."""
    normal, _ = training.tally()
    known = {message for bag in np.flatnonzero(normal) for message in training.bags[bag]}
    return _by_bag(lambda bags: np.array([float(not known.issuperset(bag)) for bag in bags]))


def _highest_alert_rate(training: TrainingBags) -> Scorer:
    """The highest share of alerts that the lines of any of the window's messages had in training.

    A message that training lacks has the share of all training lines.
    """
    if training.evidence.alert_rates is None:
        raise NotApplicableError("The lines have no labels.")
    rates = training.evidence.alert_rates
    return _by_bag(lambda bags: np.array([rates[list(bag)].max() for bag in bags]))


def _exact_sequence(training: TrainingBags) -> Scorer:
    """The anomalous share of the training windows with that very sequence; unseen: of all."""
    sequences, sequence_of = distinct(training.evidence.train.message_ids)
    shares = np.bincount(sequence_of, weights=training.labels) / np.bincount(sequence_of)
    known = dict(zip(sequences, shares.tolist(), strict=True))
    overall = float(training.labels.mean())
    return lambda windows: np.array([known.get(ids, overall) for ids in windows.message_ids])


def _logistic_regression(training: TrainingBags) -> Scorer:
    bags, labels, weights = training.rows()
    scaler = MaxAbsScaler().fit(training.counts_BM)
    model = LogisticRegression(C=100, max_iter=MAX_ITERATIONS)
    model.fit(scaler.transform(training.counts_BM[bags]), labels, sample_weight=weights)
    return _by_counts(
        training.columns, lambda counts: model.predict_proba(scaler.transform(counts))[:, 1]
    )


def _of_trees(make: Callable[[], DecisionTreeClassifier]) -> "Fit":
    """Trees of scikit-learn; its histogram boosting would want the counts unpacked."""

    def fit(training: TrainingBags) -> Scorer:
        bags, labels, weights = training.rows()
        if training.counts_BM.shape[1] > MAX_TREE_MESSAGES:
            raise NotApplicableError(
                f"Training windows hold more than {MAX_TREE_MESSAGES:,} distinct messages."
            )
        model = make().fit(training.counts_BM[bags], labels, sample_weight=weights)
        return _by_counts(training.columns, lambda counts: model.predict_proba(counts)[:, 1])

    return fit


def _nearest_neighbour(training: TrainingBags) -> Scorer:
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
            scores[part] = score_new([bags[number] for number in part])
        return scores

    return _by_bag(score_bags)


def _mean_vector(training: TrainingBags) -> Scorer:
    """What the frozen encoder tells without the decoder: the mean over a window's messages."""
    vectors_ME = training.evidence.vectors_ME
    if vectors_ME is None:
        raise NotApplicableError("There are too many messages to encode.")
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


Fit = Callable[[TrainingBags], Scorer]
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
