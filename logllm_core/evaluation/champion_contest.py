"""Candidate against champion: both judge the same newest windows, and the figures decide.

A window that one of them was trained on would flatter it, so such windows are left out: a session
that was in a training or validation split, and where windows follow the log, those that begin
before the champion's training ended. The candidate's own windows are parted from these by its
split already.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from loguru import logger

from logllm_core.daily.champion.decisions import Decision
from logllm_core.daily.champion.fair_windows import TRAINED_ON, Newer, newer_windows
from logllm_core.evaluation.measures.intervals import difference
from logllm_core.evaluation.measures.metrics import Labels, Scores, judge, rank
from logllm_core.evaluation.measures.scored_windows import read_scores
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.pages.figures_as_text import LABELS, shown, shown_interval
from logllm_core.results.figures import PAIRED, Interval, PairedFigure
from logllm_core.results.json_files import read_report
from logllm_core.store.store import Artifact, Store

# Of fewer windows the resamples have less than six blocks, and their interval means nothing.
MIN_WINDOWS = 30
# So much worse a candidate must not be: where it does worse, its interval has to rule that out. Of
# few anomalous windows, resamples without them make any loss look like chance.
MAX_LOSS = 0.1
NUM_PLACES = 9  # sums in another order differ beyond, and are no defeat


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One figure of both."""

    name: str  # a key of LABELS
    candidate: float | None
    champion: float | None
    difference: float | None  # the candidate's minus the champion's
    interval: Interval | None  # 95 %, of the difference; None where it is not defined


@dataclass(frozen=True, kw_only=True, slots=True)
class Contest:
    """What became of it."""

    num_windows: int  # that both judged and neither was trained on
    num_anomalous: int
    num_left_out: int  # test windows that one of them may have been trained on
    figures: tuple[Compared, ...]
    is_promoted: bool
    reason: str  # a sentence


def hold_contest(
    store: Store,
    windows: Artifact,
    candidate: Artifact,
    champion: Artifact,
    lineage: Sequence[Decision],
    *,
    report: Artifact,
) -> Contest:
    """Compare two models' predictions for the test split of the newest windows.

    Args:
        candidate, champion: predictions of these windows.
        lineage: the champion and the models that it goes back to.
        report: on the candidate, which tells whether it learned too little.
    """
    known = [store.data_dir / "windows" / windows.dataset / made.windows for made in lineage]
    fair = newer_windows(windows, known, TRAINED_ON)
    labels = read_windows(windows, "test").is_anomalous
    assert labels is not None, "unlabelled windows train no candidate"
    contest = compete(labels, read_scores(candidate, "test"), read_scores(champion, "test"), fair)
    learned = read_report(report).learned
    if learned and learned.shortfall:
        contest = held_back(contest, learned.shortfall)
    logger.info("{}: {}", windows.dataset, contest.reason)
    return contest


def compete(is_anomalous: Labels, candidate: Scores, champion: Scores, fair: Newer) -> Contest:
    """Promote the candidate unless it is worse than the champion by more than chance explains.

    That is: unless the 95 % interval of the difference of F1, or of PR-AUC, lies below 0 whole.
    Where that cannot be told, the champion stays: with too few windows, one class alone, or where
    the candidate does worse and the interval holds a loss of more than MAX_LOSS.

    Args:
        is_anomalous: the labels of all test windows, in log order.
        candidate, champion: the probabilities that each gave to the same windows.
        fair: the windows that neither was trained on.
    """
    chosen = fair.are_newer
    labels = is_anomalous[chosen]
    figures = tuple(_compared(name, labels, candidate[chosen], champion[chosen]) for name in PAIRED)
    is_promoted, reason = _decided(labels, figures)
    return Contest(
        num_windows=len(labels),
        num_anomalous=int(labels.sum()),
        num_left_out=int((~chosen).sum()),
        figures=figures,
        is_promoted=is_promoted,
        reason=f"{reason} {fair.unknown}" if fair.unknown else reason,
    )


def held_back(contest: Contest, shortfall: str) -> Contest:
    """The same, but no candidate that learned too little is promoted, whatever its figures are."""
    stays = "The champion stays: the candidate" if contest.is_promoted else "The candidate"
    return replace(contest, is_promoted=False, reason=f"{stays} {shortfall}. {contest.reason}")


def in_words(compared: Compared) -> str:
    """A figure of both in words."""
    words = (
        f"{LABELS[compared.name]} {shown(compared.candidate)} against {shown(compared.champion)}"
    )
    if compared.difference is None:
        return words
    return f"{words} ({compared.difference:+.3f}, 95 % {shown_interval(compared.interval)})"


def _compared(name: PairedFigure, labels: Labels, candidate: Scores, champion: Scores) -> Compared:
    def figure(scores: Scores) -> float | None:
        return judge(labels, scores).f1 if name == "f1" else rank(labels, scores).pr_auc

    paired = difference(labels, candidate, champion, name) if len(labels) else None
    return Compared(
        name=name,
        candidate=figure(candidate),
        champion=figure(champion),
        difference=paired.difference if paired else None,
        interval=paired.interval if paired else None,
    )


def _decided(labels: Labels, figures: Sequence[Compared]) -> tuple[bool, str]:
    num_windows, num_anomalous = len(labels), int(labels.sum())
    words = " and ".join(map(in_words, figures))
    on = f"on {num_windows:,} new windows, {num_anomalous:,} anomalous"
    if num_windows < MIN_WINDOWS:
        return False, (
            f"The champion stays: {num_windows:,} windows that neither was trained on are too few "
            f"to tell (wanted {MIN_WINDOWS})."
        )
    if any(compared.interval is None for compared in figures):
        return False, f"The champion stays: it cannot be told {on}, which of both is better."
    worse = [
        LABELS[compared.name]
        for compared in figures
        if compared.interval and round(compared.interval.high, NUM_PLACES) < 0
    ]
    if worse:
        return False, f"The candidate is worse in {' and '.join(worse)}: {words}, {on}."
    doubtful = [LABELS[compared.name] for compared in figures if _may_lose(compared)]
    if doubtful:
        return False, (
            f"The champion stays: the candidate does worse in {' and '.join(doubtful)}, by chance "
            f"or by more than {MAX_LOSS:g}, which cannot be told: {words}, {on}."
        )
    return True, f"The candidate is not worse than chance explains: {words}, {on}."


def _may_lose(compared: Compared) -> bool:
    """Whether it does worse, and nothing rules out that it is much worse."""
    if compared.difference is None or compared.interval is None:
        return False
    return round(compared.difference, NUM_PLACES) < 0 and compared.interval.low < -MAX_LOSS
