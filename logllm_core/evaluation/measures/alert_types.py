"""The labels of lines: which alert types a window holds, how often a message was an alert."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.logs.messages.log_messages import message_files
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import split_files
from logllm_core.results.report import AlertGroup, Alerts, AlertType
from logllm_core.scoring import DECISION
from logllm_core.store.database import bounded_connection
from logllm_core.store.store import Artifact

NUM_SHOWN_CHARACTERS = 80  # of an alert's name
_ALERTS_OF_WINDOWS = """
select distinct window_id, alert
from (select window_id, unnest(line_numbers) as line_number from read_parquet($windows))
join (select line_number, alert from read_parquet($messages) where alert is not null)
using (line_number)
order by window_id, alert
"""
_ALERTS_OF_MESSAGES = """
select message_id, count(*) as num_lines, sum(is_alert::int) as num_alerts
from (select unnest(message_ids) as message_id, unnest(alerts) as is_alert
      from read_parquet($windows))
group by message_id
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertTypes:
    """The alert types of windows whose lines are labelled."""

    of_test: Sequence[frozenset[str]]  # of each test window, in log order
    num_train_windows: Mapping[str, int]  # by type: how many training windows hold it


def read_alert_types(
    messages: Artifact, windows: Artifact, test_ids: NDArray[np.int64]
) -> AlertTypes | None:
    """None where lines have no labels of their own, as those of HDFS."""
    if not _has_line_labels(messages):
        return None
    train = Counter(alert for _, alert in _alerts(messages, windows, "train"))
    test: dict[int, set[str]] = {}
    for window_id, alert in _alerts(messages, windows, "test"):
        test.setdefault(window_id, set()).add(alert)
    of_test = [frozenset(test.get(window_id, ())) for window_id in test_ids.tolist()]
    return AlertTypes(of_test=of_test, num_train_windows=train)


def _alerts(messages: Artifact, windows: Artifact, split: Split) -> list[tuple[int, str]]:
    with bounded_connection() as connection:
        return connection.execute(
            _ALERTS_OF_WINDOWS,
            {"windows": split_files(windows, split), "messages": message_files(messages)},
        ).fetchall()


def read_alert_rates(messages: Artifact, windows: Artifact) -> Scores | None:
    """By message id: the share of its lines in training windows that are alerts.

    A message that training lacks has the share of all training lines. None where lines have no
    labels of their own.
    """
    if not _has_line_labels(messages):
        return None
    with bounded_connection() as connection:
        counts = connection.execute(
            _ALERTS_OF_MESSAGES, {"windows": split_files(windows, "train")}
        ).fetchnumpy()
    num_lines, num_alerts = counts["num_lines"], counts["num_alerts"].astype(np.float64)
    overall = num_alerts.sum() / max(num_lines.sum(), 1)
    rates = np.full(messages.results["num_distinct_messages"], overall)
    rates[counts["message_id"]] = num_alerts / num_lines
    return rates


def _has_line_labels(messages: Artifact) -> bool:
    labels = messages.manifest["config"]["labels"]
    return bool(labels) and labels["kind"] in ("field", "pattern")


def shown_alert(alert: str) -> str:
    """The name of an alert, cut where it is no name but a text."""
    is_long = len(alert) > NUM_SHOWN_CHARACTERS
    return alert[: NUM_SHOWN_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}" if is_long else alert


def recall_by_alert(
    types: AlertTypes, is_anomalous: Labels, scores: Mapping[str, Scores]
) -> Alerts:
    """How many of the test windows that hold an alert type are found, type by type.

    A window counts for each of its types, whichever line it was found by. `seen` and `unseen` part
    the anomalous windows by whether any of their types is in a training window.
    """
    verdicts = {name: of_detector > DECISION for name, of_detector in scores.items()}

    def recall(windows: Labels | list[int]) -> dict[str, float | None]:
        return {name: _share(flagged[windows]) for name, flagged in verdicts.items()}

    holding: dict[str, list[int]] = {}
    for number, held in enumerate(types.of_test):
        for alert in held:
            holding.setdefault(alert, []).append(number)
    is_seen = np.array([bool(held & types.num_train_windows.keys()) for held in types.of_test])
    seen, unseen = is_anomalous & is_seen, is_anomalous & ~is_seen
    return Alerts(
        types=tuple(
            AlertType(
                alert=shown_alert(alert),
                is_in_training=alert in types.num_train_windows,
                num_train_windows=types.num_train_windows.get(alert, 0),
                num_test_windows=len(windows),
                recall=recall(windows),
            )
            for alert, windows in sorted(
                holding.items(), key=lambda entry: (-len(entry[1]), entry[0])
            )
        ),
        seen=AlertGroup(num_windows=int(seen.sum()), recall=recall(seen)),
        unseen=AlertGroup(num_windows=int(unseen.sum()), recall=recall(unseen)),
    )


def _share(verdicts: Labels) -> float | None:
    return float(verdicts.mean()) if len(verdicts) else None
