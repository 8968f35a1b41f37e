"""The labels of lines: which alert types a window holds, how often a message was an alert."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from logllm_core.detection import DECISION
from logllm_core.evaluation.metrics import Labels, Scores
from logllm_core.logs.messages import message_files
from logllm_core.logs.splitting import Split
from logllm_core.logs.windows import split_files
from logllm_core.store import Artifact, Json

_ALERTS_OF_WINDOWS = """
select distinct window_id, alert
from (select window_id, unnest(line_numbers) as line_number from read_parquet($windows))
join (select line_number, alert from read_parquet($messages) where alert is not null)
using (line_number)
order by window_id, alert
"""
_RATES_OF_MESSAGES = """
select message_id, avg(is_alert::int) as rate
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
    """None where the log's lines carry no alerts, as those of HDFS."""
    if not messages.results["num_alert_lines"]:
        return None
    train = Counter(alert for _, alert in _alerts(messages, windows, "train"))
    found: dict[int, set[str]] = {}
    for window_id, alert in _alerts(messages, windows, "test"):
        found.setdefault(window_id, set()).add(alert)
    of_test = [frozenset(found.get(window_id, ())) for window_id in test_ids.tolist()]
    return AlertTypes(of_test=of_test, num_train_windows=train)


def _alerts(messages: Artifact, windows: Artifact, split: Split) -> list[tuple[int, str]]:
    with duckdb.connect() as connection:
        return connection.execute(
            _ALERTS_OF_WINDOWS,
            {"windows": split_files(windows, split), "messages": message_files(messages)},
        ).fetchall()


def read_alert_rates(messages: Artifact, windows: Artifact) -> Scores | None:
    """By message id: the share of its lines in training windows that are alerts.

    NaN for a message that training lacks. None where the lines have no labels.
    """
    if not messages.results["num_alert_lines"]:
        return None
    rates = np.full(messages.results["num_distinct_messages"], np.nan)
    with duckdb.connect() as connection:
        found = connection.execute(
            _RATES_OF_MESSAGES, {"windows": split_files(windows, "train")}
        ).fetchnumpy()
    rates[found["message_id"]] = found["rate"]
    return rates


def recall_by_alert(
    types: AlertTypes, is_anomalous: Labels, scores: Mapping[str, Scores]
) -> dict[str, Json]:
    """How many of the test windows that hold an alert type are found, type by type.

    A window counts for each of its types, whichever line it was found by. `seen` and `unseen` part
    the anomalous windows by whether any of their types is in a training window.
    """
    verdicts = {name: found > DECISION for name, found in scores.items()}
    num_test_windows = Counter(alert for held in types.of_test for alert in held)
    entries = []
    for alert, count in sorted(num_test_windows.items(), key=lambda entry: (-entry[1], entry[0])):
        holds = np.array([alert in held for held in types.of_test])
        entries.append(
            {
                "alert": alert,
                "is_in_training": alert in types.num_train_windows,
                "num_train_windows": types.num_train_windows.get(alert, 0),
                "num_test_windows": count,
                "recall": {name: _share(found[holds]) for name, found in verdicts.items()},
            }
        )
    is_seen = np.array([bool(held & types.num_train_windows.keys()) for held in types.of_test])
    groups = {"seen": is_anomalous & is_seen, "unseen": is_anomalous & ~is_seen}
    return {"types": entries} | {
        group: {
            "num_windows": int(chosen.sum()),
            "recall": {name: _share(found[chosen]) for name, found in verdicts.items()},
        }
        for group, chosen in groups.items()
    }


def _share(verdicts: Labels) -> float | None:
    return float(verdicts.mean()) if len(verdicts) else None
