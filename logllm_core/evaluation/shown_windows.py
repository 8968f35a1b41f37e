"""The test windows that a report shows, with their lines of the raw log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.evaluation.measures.alert_types import shown_alert
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.logs.messages.log_messages import message_files
from logllm_core.pages.html import NUM_SHOWN_LINES, shown_line
from logllm_core.scoring import DECISION
from logllm_core.scoring.verdicts import carriers_of
from logllm_core.store.database import bounded_connection
from logllm_core.store.store import Artifact, Json

# How many windows of each kind are shown at most. "passed": normal and not flagged.
NUM_SHOWN = {"missed": 200, "false alarm": 200, "found": 200, "passed": 50}
NUM_CARRIERS = 3  # messages that are marked as those that carried an alarm, at most
NUM_LINES_OF_A_MESSAGE = 3  # of one that repeats itself within its window

Contributions = Mapping[int, Mapping[int, float]]  # by window id, by message id


@dataclass(frozen=True, kw_only=True, slots=True)
class Cases:
    """Windows to look at, and how many there are of each kind."""

    confusion: dict[str, Json]
    windows: list[dict[str, Json]]


def choose_cases(
    messages: Artifact,
    windows: Artifact,
    message_ids: Sequence[tuple[int, ...]],
    is_anomalous: Labels,
    scores: Scores,
    contributions: Contributions,
) -> Cases:
    """Of each kind the windows that say most: no sequence twice while others wait, clearest first.

    Args:
        message_ids, is_anomalous, scores: of the test windows, in log order.
        contributions: of the flagged ones.
    """
    alarms = scores > DECISION
    # Where the score is furthest from what it should be, or, of what is right, clearest.
    kinds = {
        "missed": (is_anomalous & ~alarms, scores),
        "false alarm": (~is_anomalous & alarms, -scores),
        "found": (is_anomalous & alarms, -scores),
        "passed": (~is_anomalous & ~alarms, -scores),
    }
    chosen, confusion = [], {}
    for kind, (is_kind, order) in kinds.items():
        places = _clearest(np.flatnonzero(is_kind), order, message_ids)[: NUM_SHOWN[kind]]
        confusion[kind] = {"num_windows": int(is_kind.sum()), "num_shown": len(places)}
        chosen += [(kind, place) for place in places]
    described = _describe(messages, windows, [place for _, place in chosen], contributions)
    return Cases(
        confusion=confusion,
        windows=[
            {"kind": kind, "probability": float(scores[place])} | window
            for (kind, place), window in zip(chosen, described, strict=True)
        ],
    )


def _clearest(
    places: NDArray[np.int64], order: Scores, message_ids: Sequence[tuple[int, ...]]
) -> list[int]:
    ordered = places[np.argsort(order[places], kind="stable")].tolist()
    num_before: dict[tuple[int, ...], int] = {}
    ranks = []
    for place in ordered:
        ranks.append(num_before.get(message_ids[place], 0))
        num_before[message_ids[place]] = ranks[-1] + 1
    return [ordered[i] for i in sorted(range(len(ordered)), key=lambda i: ranks[i])]


def _describe(
    messages: Artifact, windows: Artifact, places: Sequence[int], contributions: Contributions
) -> list[dict[str, Json]]:
    """Ids, alerts and chosen lines of test windows, by their places in the split."""
    columns = ["window_id", "session_id", "message_ids", "line_numbers", "start_time"]
    table = tables.read(windows.path / "split=test", tables.WINDOWS, columns)
    rows = table.take(places).to_pylist() if places else []
    found = _read(messages, "alert", {n for row in rows for n in row["line_numbers"]})
    alerts = {number: shown_alert(alert) for number, alert in found.items()}
    carriers = [carriers_of(contributions.get(row["window_id"], {}), NUM_CARRIERS) for row in rows]
    shown = [
        chosen_lines(row["message_ids"], [alerts.get(n) for n in row["line_numbers"]], own)
        for row, own in zip(rows, carriers, strict=True)
    ]
    wanted = {
        row["line_numbers"][place]
        for row, chosen in zip(rows, shown, strict=True)
        for place, _ in chosen
    }
    contents = _read(messages, "content", wanted)
    return [
        {
            "window_id": row["window_id"],
            "session_id": row["session_id"],
            "start_time": row["start_time"] and row["start_time"].isoformat(),
            "alerts": sorted({alerts[n] for n in row["line_numbers"] if n in alerts}),
            "num_lines": len(row["line_numbers"]),
            "lines": [
                shown_line(
                    number := row["line_numbers"][place],
                    contents[number],
                    alerts.get(number),
                    contribution=contributions.get(row["window_id"], {}).get(
                        message := row["message_ids"][place]
                    ),
                    is_carrier=message in own,
                    num_skipped=num_skipped,
                )
                for place, num_skipped in chosen
            ],
        }
        for row, own, chosen in zip(rows, carriers, shown, strict=True)
    ]


def _read(
    messages: Artifact, column: Literal["content", "alert"], wanted: set[int]
) -> dict[int, str]:
    """What lines hold in that column, by their numbers; those that hold nothing are left out."""
    with bounded_connection() as connection:
        connection.read_parquet(message_files(messages)).create_view("lines")
        connection.register("wanted", pa.table({"line_number": pa.array(wanted, pa.int64())}))
        rows = connection.execute(
            f"select line_number, {column} from lines semi join wanted using (line_number)"
            f" where {column} is not null"
        ).fetchall()
    return dict(rows)


def chosen_lines(
    message_ids: Sequence[int], alerts: Sequence[str | None], carriers: Sequence[int]
) -> list[tuple[int, int]]:
    """Places of the lines to show, and how many are left out before each.

    First come lines of the carriers, strongest first, and alerts; then their neighbours; then the
    window from its start.
    """
    first: list[int] = []
    for message in carriers:
        places = [place for place, own in enumerate(message_ids) if own == message]
        first += places[:NUM_LINES_OF_A_MESSAGE]
    of_alerts: dict[int, list[int]] = {}
    for place, alert in enumerate(alerts):
        if alert:
            of_alerts.setdefault(message_ids[place], []).append(place)
    for places in of_alerts.values():
        first += places[:NUM_LINES_OF_A_MESSAGE]
    neighbours = [place + step for place in first for step in (-1, 1)]
    ordered = [*first, *neighbours, *range(len(message_ids))]
    within = [place for place in dict.fromkeys(ordered) if 0 <= place < len(message_ids)]
    shown = sorted(within[:NUM_SHOWN_LINES])
    return [(place, place - before - 1) for before, place in zip([-1, *shown], shown, strict=False)]
