"""Whether the messages that carried an alarm are those that the lines' own labels name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from logllm_core import tables
from logllm_core.evaluation.metrics import Labels, Scores
from logllm_core.store import Artifact, Json

Ranking = Mapping[int, float]  # a window's distinct messages, by id; higher is more suspicious


@dataclass(frozen=True, kw_only=True, slots=True)
class FlaggedWindow:
    """A window that was called anomalous, and its lines' labels."""

    message_ids: Sequence[int]
    is_alert: Sequence[bool]  # of each line
    contributions: Ranking  # lacks the messages that were cut


def read_contributions(predictions: Artifact) -> dict[int, dict[int, float]]:
    """Of each flagged test window, by id: what each distinct message contributed."""
    table = tables.read(predictions.path / "contributions" / "split=test", tables.CONTRIBUTIONS)
    found: dict[int, dict[int, float]] = {}
    for window_id, message_id, contribution in zip(
        *(table[name].to_pylist() for name in tables.CONTRIBUTIONS.names), strict=True
    ):
        found.setdefault(window_id, {})[message_id] = contribution
    return found


def localization(
    windows: Artifact, contributions: Mapping[int, Ranking], alert_rates: Scores
) -> dict[str, Json]:
    """Figures of the contributions, and of two rules, against the labels of lines.

    hit@k: the share of the flagged windows that hold an alert in which one of the k messages ranked
    highest is on an alert line; where messages tie, its expected value. PR-AUC: over all lines of
    flagged windows, false alarms included.
    """
    names = ["window_id", "message_ids", "alerts"]
    table = tables.read(windows.path / "split=test", tables.WINDOWS, names)
    flagged, num_alert_lines_missed = [], 0
    for window_id, message_ids, is_alert in zip(
        *(table[n].to_pylist() for n in names), strict=True
    ):
        if window_id in contributions:
            flagged.append(
                FlaggedWindow(
                    message_ids=message_ids,
                    is_alert=is_alert,
                    contributions=contributions[window_id],
                )
            )
        else:
            num_alert_lines_missed += sum(is_alert)
    known = alert_rates[~np.isnan(alert_rates)]
    rates = np.where(np.isnan(alert_rates), known.mean() if len(known) else 0.0, alert_rates)
    rankings: dict[str, Sequence[Ranking]] = {
        "LogLLM": [window.contributions for window in flagged],
        "highest anomaly rate of the message": [
            {message: float(rates[message]) for message in window.message_ids} for window in flagged
        ],
        "a random message": [dict.fromkeys(window.message_ids, 0.0) for window in flagged],
    }
    return {
        "num_windows": len(flagged),
        "num_windows_with_alerts": sum(any(window.is_alert) for window in flagged),
        "num_lines": sum(len(window.message_ids) for window in flagged),
        "num_alert_lines": sum(sum(window.is_alert) for window in flagged),
        "num_alert_lines_missed": num_alert_lines_missed,
        "rankings": {name: ranking_figures(flagged, found) for name, found in rankings.items()},
    }


def ranking_figures(
    flagged: Sequence[FlaggedWindow], rankings: Sequence[Ranking]
) -> dict[str, float | None]:
    """hit@1, hit@3 and the PR-AUC of lines, of one ranking a window."""
    is_alert, scores = _pooled(flagged, rankings)
    return {
        "hit_at_1": _mean_hit(flagged, rankings, 1),
        "hit_at_3": _mean_hit(flagged, rankings, 3),
        "pr_auc": float(average_precision_score(is_alert, scores))
        if 0 < is_alert.sum() < len(is_alert)
        else None,
    }


def _mean_hit(
    flagged: Sequence[FlaggedWindow], rankings: Sequence[Ranking], k: int
) -> float | None:
    hits = []
    for window, ranking in zip(flagged, rankings, strict=True):
        alerts = {
            m for m, is_alert in zip(window.message_ids, window.is_alert, strict=True) if is_alert
        }
        if alerts:
            hits.append(expected_hit({m: m in alerts for m in {*window.message_ids}}, ranking, k))
    return float(np.mean(hits)) if hits else None


def expected_hit(is_alert: Mapping[int, bool], ranking: Ranking, k: int) -> float:
    """The chance that one of the k messages ranked highest is an alert, ties in random order.

    Args:
        is_alert: every distinct message of the window; those that the ranking lacks come last.
    """
    num_left = k
    places = {message: ranking.get(message, -np.inf) for message in is_alert}
    for score in sorted(set(places.values()), reverse=True):
        tied = [is_alert[message] for message, place in places.items() if place == score]
        if len(tied) >= num_left:  # k of them are drawn: the chance that none is an alert
            return 1 - comb(tied.count(False), num_left) / comb(len(tied), num_left)
        if any(tied):
            return 1.0
        num_left -= len(tied)
    return 0.0


def _pooled(flagged: Sequence[FlaggedWindow], rankings: Sequence[Ranking]) -> tuple[Labels, Scores]:
    """Labels and scores of all lines; those of messages that were cut come last."""
    is_alert = [label for window in flagged for label in window.is_alert]
    scores: NDArray[np.float64] = np.array(
        [
            ranking.get(message, -np.inf)
            for window, ranking in zip(flagged, rankings, strict=True)
            for message in window.message_ids
        ]
    )
    lowest = scores.min(initial=0.0, where=np.isfinite(scores))
    return np.array(is_alert, dtype=bool), np.where(np.isfinite(scores), scores, lowest - 1)
