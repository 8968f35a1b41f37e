"""The page of alarms: what was found in new logs, newest first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from loguru import logger

from logllm_core.daily.ledger.cursors import cursors, new_dir
from logllm_core.pages.html import render_page
from logllm_core.pages.judged_tables import read_judged_windows
from logllm_core.pages.judged_windows import (
    Bars,
    JudgedModel,
    JudgedWindows,
    ListedAlarm,
    ListedLog,
)
from logllm_core.pages.timeline import alarms_over_time
from logllm_core.store.disk import replace_file, writable
from logllm_core.store.store import Store

PAGE = "page.html"
NUM_SHOWN_LOGS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class _Day:
    """The alarms that were raised on one day."""

    day: str
    windows: Sequence[ListedAlarm]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Content:
    """What the page tells."""

    dataset: str
    num_windows: int
    num_anomalous: int
    num_lines: int
    num_unseen_lines: int
    num_compared_lines: int
    num_cut_lines: int
    num_recent: int
    num_logs: int
    logs: Sequence[ListedLog]  # the first of them
    models: Sequence[JudgedModel]
    drawn: Bars | None
    num_alarms: int
    groups: Sequence[_Day]
    sources: Sequence[tuple[str, int]]  # of the alarms, with how many each has

    @classmethod
    def of(cls, dataset: str, judged: JudgedWindows) -> "_Content":
        logs, alarms = judged.logs, judged.alarms
        return cls(
            dataset=dataset,
            num_windows=sum(log.num_windows for log in logs),
            num_anomalous=sum(log.num_anomalous for log in logs),
            num_lines=sum(log.num_lines for log in logs),
            num_unseen_lines=sum(log.num_unseen_lines or 0 for log in logs),
            num_compared_lines=sum(log.num_compared_lines or 0 for log in logs),
            num_cut_lines=sum(log.num_cut_lines or 0 for log in logs),
            num_recent=judged.num_recent,
            num_logs=len(logs),
            logs=logs[:NUM_SHOWN_LOGS],
            models=judged.models,
            drawn=judged.bars,
            num_alarms=len(alarms),
            groups=_by_day(alarms),
            sources=sorted(Counter(alarm.source for alarm in alarms).items()),
        )


def write_page(store: Store, dataset: str) -> Path:
    """Write `predictions/<data set>/new/page.html` from the tables that count; returns its path.

    Raises:
        LogLLMError: a table or a source's cursor is damaged, or the page cannot be written.
    """
    path = new_dir(store, dataset) / PAGE
    judged = read_judged_windows(list(cursors(store, dataset)))
    content = _Content.of(dataset, judged)
    pictures = {"alarms": alarms_over_time(judged.bars, judged.alarms)} if judged.bars else {}
    html = render_page("alarms.html.j2", content, pictures, {})
    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, html.encode())
    logger.info(
        "{}: {:,} of {:,} windows of new logs are anomalous; see {}",
        *(dataset, content.num_anomalous, content.num_windows, path),
    )
    return path


def _by_day(alarms: Sequence[ListedAlarm]) -> list[_Day]:
    """Alarms by the day on which they were judged, in their order."""
    return [
        _Day(day=f"{day:%Y-%m-%d}", windows=list(of_day))
        for day, of_day in groupby(alarms, key=lambda alarm: alarm.judged.date())
    ]
