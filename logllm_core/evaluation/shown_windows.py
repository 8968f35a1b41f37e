"""The test windows that a report shows, with their lines of the raw log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.evaluation.measures.alert_types import shown_alert
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.logs.messages.log_messages import message_files
from logllm_core.results.shown_windows import (
    NUM_SHOWN_LINES,
    ShownCounts,
    ShownLine,
    ShownWindow,
    WindowKind,
)
from logllm_core.scoring import DECISION
from logllm_core.scoring.verdicts import carriers_of
from logllm_core.store.database import bounded_connection
from logllm_core.store.store import Artifact

# How many windows of each kind are shown at most.
NUM_SHOWN: Mapping[WindowKind, int] = {
    "missed": 200,
    "false alarm": 200,
    "found": 200,
    "passed": 50,
}
NUM_CARRIERS = 3  # messages that are marked as those that carried an alarm, at most
NUM_LINES_OF_A_MESSAGE = 3  # of one that repeats itself within its window

Contributions = Mapping[int, Mapping[int, float]]  # by window id, by message id


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Windows to look at, and how many there are of each kind."""

    confusion: dict[WindowKind, ShownCounts]
    windows: tuple[ShownWindow, ...]


class _Row(TypedDict):
    """A window, as its table has it."""

    window_id: int
    session_id: str | None
    message_ids: list[int]
    line_numbers: list[int]
    start_time: datetime | None


def choose_windows(
    messages: Artifact,
    windows: Artifact,
    *,
    message_ids: Sequence[tuple[int, ...]],
    is_anomalous: Labels,
    scores: Scores,
    contributions: Contributions,
) -> Chosen:
    """Of each kind the windows that say most: no sequence twice while others wait, clearest first.

    Args:
        message_ids, is_anomalous, scores: of the test windows, in log order.
        contributions: of the flagged ones.
    """
    alarms = scores > DECISION
    # Where the score is furthest from what it should be, or, of what is right, clearest.
    kinds: Mapping[WindowKind, tuple[Labels, Scores]] = {
        "missed": (is_anomalous & ~alarms, scores),
        "false alarm": (~is_anomalous & alarms, -scores),
        "found": (is_anomalous & alarms, -scores),
        "passed": (~is_anomalous & ~alarms, -scores),
    }
    chosen: list[tuple[WindowKind, int]] = []
    confusion = {}
    for kind, (is_kind, order) in kinds.items():
        numbers = _clearest(np.flatnonzero(is_kind), order, message_ids)[: NUM_SHOWN[kind]]
        confusion[kind] = ShownCounts(num_windows=int(is_kind.sum()), num_shown=len(numbers))
        chosen += [(kind, number) for number in numbers]
    columns = ["window_id", "session_id", "message_ids", "line_numbers", "start_time"]
    table = tables.read(windows.path / "split=test", tables.WINDOWS, columns)
    rows: list[_Row] = table.take([number for _, number in chosen]).to_pylist() if chosen else []
    lines = _RawLines.of(messages, rows, contributions)
    return Chosen(
        confusion=confusion,
        windows=tuple(
            lines.window(row, kind, float(scores[number]))
            for (kind, number), row in zip(chosen, rows, strict=True)
        ),
    )


def _clearest(
    numbers: NDArray[np.int64], order: Scores, message_ids: Sequence[tuple[int, ...]]
) -> list[int]:
    ordered = numbers[np.argsort(order[numbers], kind="stable")].tolist()
    num_before: dict[tuple[int, ...], int] = {}
    ranks = []
    for number in ordered:
        ranks.append(num_before.get(message_ids[number], 0))
        num_before[message_ids[number]] = ranks[-1] + 1
    return [ordered[i] for i in sorted(range(len(ordered)), key=lambda i: ranks[i])]


@dataclass(frozen=True, kw_only=True, slots=True)
class _RawLines:
    """What the raw log holds of the chosen windows."""

    contributions: Contributions
    alerts: Mapping[int, str]  # by line number; of all lines of these windows
    contents: Mapping[int, str]  # of those that are shown

    @classmethod
    def of(
        cls, messages: Artifact, rows: Sequence[_Row], contributions: Contributions
    ) -> "_RawLines":
        labels = _read(messages, "alert", {n for row in rows for n in row["line_numbers"]})
        alerts = {number: shown_alert(alert) for number, alert in labels.items()}
        unread = cls(contributions=contributions, alerts=alerts, contents={})
        wanted = {row["line_numbers"][at] for row in rows for at, _ in unread.chosen(row)}
        contents = _read(messages, "content", wanted)
        return cls(contributions=contributions, alerts=alerts, contents=contents)

    def carriers(self, row: _Row) -> list[int]:
        return carriers_of(self.contributions.get(row["window_id"], {}), NUM_CARRIERS)

    def chosen(self, row: _Row) -> list[tuple[int, int]]:
        alerts = [self.alerts.get(number) for number in row["line_numbers"]]
        return chosen_lines(row["message_ids"], alerts, self.carriers(row))

    def window(self, row: _Row, kind: WindowKind, probability: float) -> ShownWindow:
        contributed = self.contributions.get(row["window_id"], {})
        carriers, numbers = self.carriers(row), row["line_numbers"]
        return ShownWindow(
            kind=kind,
            probability=probability,
            window_id=row["window_id"],
            session_id=row["session_id"],
            start_time=row["start_time"].isoformat() if row["start_time"] else None,
            alerts=tuple(sorted({self.alerts[n] for n in numbers if n in self.alerts})),
            num_lines=len(numbers),
            lines=tuple(
                ShownLine.of(
                    numbers[at],
                    self.contents[numbers[at]],
                    alert=self.alerts.get(numbers[at]),
                    contribution=contributed.get(row["message_ids"][at]),
                    is_carrier=row["message_ids"][at] in carriers,
                    num_skipped=num_skipped,
                )
                for at, num_skipped in self.chosen(row)
            ),
        )


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
    """The lines to show, counted from 0 within the window, and how many are left out before each.

    First come lines of the carriers, strongest first, and alerts; then their neighbours; then the
    window from its start.
    """
    first: list[int] = []
    for carrier in carriers:
        of_message = [at for at, message in enumerate(message_ids) if message == carrier]
        first += of_message[:NUM_LINES_OF_A_MESSAGE]
    of_alerts: dict[int, list[int]] = {}
    for at, alert in enumerate(alerts):
        if alert:
            of_alerts.setdefault(message_ids[at], []).append(at)
    for of_alert in of_alerts.values():
        first += of_alert[:NUM_LINES_OF_A_MESSAGE]
    neighbours = [at + step for at in first for step in (-1, 1)]
    ordered = [*first, *neighbours, *range(len(message_ids))]
    within = [at for at in dict.fromkeys(ordered) if 0 <= at < len(message_ids)]
    shown = sorted(within[:NUM_SHOWN_LINES])
    return [(at, at - before - 1) for before, at in zip([-1, *shown], shown, strict=False)]
