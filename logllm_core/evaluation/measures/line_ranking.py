"""Whether the messages that carried an alarm are those that the lines' own labels name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from sklearn.metrics import average_precision_score

from logllm_core import tables
from logllm_core.evaluation.measures.metrics import Scores
from logllm_core.results import MODEL
from logllm_core.results.report import LineRankings, RankingFigures
from logllm_core.store.store import Artifact

Ranking = Mapping[int, float]  # a window's distinct messages, by id; higher is more suspicious
CUT = -1e9  # the score of a line beside the part that decided: below any log-odds


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalizedWindow:
    """A window that was called anomalous, line by line, and what its messages contributed."""

    line_numbers: Sequence[int]
    message_ids: Sequence[int]
    is_alert: Sequence[bool]
    contributions: Ranking  # lacks messages that are not in the part that decided


def read_contributions(predictions: Artifact) -> dict[int, dict[int, float]]:
    """Of each flagged test window, by id: what each distinct message contributed."""
    table = tables.read(predictions.path / "contributions" / "split=test", tables.CONTRIBUTIONS)
    contributions: dict[int, dict[int, float]] = {}
    for window_id, message_id, contribution in zip(
        *(table[name].to_pylist() for name in tables.CONTRIBUTIONS.names), strict=True
    ):
        contributions.setdefault(window_id, {})[message_id] = contribution
    return contributions


def localization(
    windows: Artifact,
    predictions: Artifact,
    contributions: Mapping[int, Ranking],
    alert_rates: Scores,
) -> LineRankings:
    """Figures of the contributions, and of two rules, against the labels of lines.

    Lines are told apart by their numbers: one that several windows hold counts once.

    Args:
        contributions: of each localized window, by id, as `read_contributions` gives them.
        alert_rates: of each message in training, by id.
    """
    flagged, num_flagged, missed = read_flagged(windows, predictions, contributions)
    rankings: dict[str, Sequence[Ranking]] = {
        MODEL: [window.contributions for window in flagged],
        "highest anomaly rate of the message": [
            {message: float(alert_rates[message]) for message in window.message_ids}
            for window in flagged
        ],
        "a random line": [dict.fromkeys(window.message_ids, 0.0) for window in flagged],
    }
    is_alert = _labels(flagged)
    return LineRankings(
        num_flagged_windows=num_flagged,
        num_windows=len(flagged),
        num_windows_with_alerts=sum(any(window.is_alert) for window in flagged),
        num_lines=len(is_alert),
        num_alert_lines=sum(is_alert.values()),
        num_alert_lines_missed=missed,
        rankings={
            name: ranking_figures(flagged, of_windows) for name, of_windows in rankings.items()
        },
    )


def read_flagged(
    windows: Artifact, predictions: Artifact, contributions: Mapping[int, Ranking]
) -> tuple[list[LocalizedWindow], int, int]:
    """The localized test windows, how many were flagged, and how many alert lines none of them has.

    Not all flagged windows are localized where a model flags very many.
    """
    judged = tables.read(predictions.path / "split=test", tables.PREDICTIONS)
    names = ["window_id", "line_numbers", "message_ids", "alerts"]
    held = tables.read(windows.path / "split=test", tables.WINDOWS, names)
    rows = zip(judged["verdict"].to_pylist(), *(held[n].to_pylist() for n in names), strict=True)
    localized, num_flagged = [], 0
    alert_lines: set[int] = set()
    flagged_lines: set[int] = set()
    for verdict, window_id, line_numbers, message_ids, is_alert in rows:
        alert_lines |= {n for n, flag in zip(line_numbers, is_alert, strict=True) if flag}
        if verdict == "normal":
            continue
        num_flagged += 1
        flagged_lines.update(line_numbers)
        if window_id in contributions:
            localized.append(
                LocalizedWindow(
                    line_numbers=line_numbers,
                    message_ids=message_ids,
                    is_alert=is_alert,
                    contributions=contributions[window_id],
                )
            )
    return localized, num_flagged, len(alert_lines - flagged_lines)


def ranking_figures(
    flagged: Sequence[LocalizedWindow], rankings: Sequence[Ranking]
) -> RankingFigures:
    """How well the lines of flagged windows are ranked by their messages.

    hit@k: in what share of the windows that hold an alert one of the k lines ranked highest is one;
    where lines tie, as those of one message do, the chance of it. PR-AUC: over all lines, those of
    false alarms included; a line that several windows hold has the highest of its scores.
    """
    scores = _scores(flagged, rankings)
    labels = _labels(flagged)
    num_alerts = sum(labels.values())
    pr_auc = None
    if 0 < num_alerts < len(labels):
        pr_auc = float(average_precision_score(list(labels.values()), [scores[n] for n in labels]))
    return RankingFigures(
        hit_at_1=_mean_hit(flagged, rankings, 1),
        hit_at_3=_mean_hit(flagged, rankings, 3),
        pr_auc=pr_auc,
    )


def _mean_hit(
    flagged: Sequence[LocalizedWindow], rankings: Sequence[Ranking], k: int
) -> float | None:
    hits = [
        expected_hit(window.is_alert, _of_lines(window, ranking), k)
        for window, ranking in zip(flagged, rankings, strict=True)
        if any(window.is_alert)
    ]
    return float(np.mean(hits)) if hits else None


def expected_hit(is_alert: Sequence[bool], scores: Sequence[float], k: int) -> float:
    """The chance that one of the k lines with the highest scores is an alert, ties in any order."""
    num_left = k
    for score in sorted(set(scores), reverse=True):
        tied = [flag for flag, of_line in zip(is_alert, scores, strict=True) if of_line == score]
        if len(tied) >= num_left:  # k of them are drawn: the chance that none is an alert
            return 1 - comb(tied.count(False), num_left) / comb(len(tied), num_left)
        if any(tied):
            return 1.0
        num_left -= len(tied)
    return 0.0


def _of_lines(window: LocalizedWindow, ranking: Ranking) -> list[float]:
    """Each line's score: its message's; lines beside the part that decided come last."""
    return [ranking.get(message, CUT) for message in window.message_ids]


def _labels(flagged: Sequence[LocalizedWindow]) -> dict[int, bool]:
    """Whether a line is an alert, by its number."""
    return {
        number: flag
        for window in flagged
        for number, flag in zip(window.line_numbers, window.is_alert, strict=True)
    }


def _scores(flagged: Sequence[LocalizedWindow], rankings: Sequence[Ranking]) -> dict[int, float]:
    highest: dict[int, float] = {}
    for window, ranking in zip(flagged, rankings, strict=True):
        for number, score in zip(window.line_numbers, _of_lines(window, ranking), strict=True):
            highest[number] = max(highest.get(number, CUT), score)
    return highest
