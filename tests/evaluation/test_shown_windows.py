from pathlib import Path

import numpy as np
import pytest

from logllm_core.evaluation import shown_windows
from logllm_core.evaluation.shown_windows import choose_windows, chosen_lines
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.results import shown_windows as values
from logllm_core.results.shown_windows import ShownCounts, ShownLine, ShownWindow
from tests.evaluation.labelled import prepared


def test_windows_of_each_kind_lead_back_to_their_lines(tmp_path: Path) -> None:
    _, messages, windows = prepared(tmp_path)
    test = read_windows(windows, "test")
    assert test.is_anomalous is not None
    ids = {text: number for number, text in enumerate(read_vocabulary(messages))}
    first, _, third, _ = test.window_ids.tolist()
    chosen = choose_windows(
        messages,
        windows,
        message_ids=test.message_ids,
        is_anomalous=test.is_anomalous,
        scores=np.array([0.9, 0.4, 0.8, 0.1]),
        contributions={
            first: {ids["up"]: -0.25, ids["disk failed"]: 2.0},
            third: {ids["up"]: 0.5, ids["link lost"]: 1.5},
        },
    )
    kinds = ("missed", "false alarm", "found", "passed")
    assert chosen.confusion == dict.fromkeys(kinds, ShownCounts(num_windows=1, num_shown=1))
    assert tuple(window.kind for window in chosen.windows) == kinds
    missed, false_alarm, hit, passed = chosen.windows
    up = ShownLine.of(16, "up", contribution=-0.25)
    assert hit == ShownWindow(
        kind="found",
        probability=0.9,
        window_id=first,
        session_id=None,
        start_time="2005-06-03T22:43:06",
        alerts=("DISK",),
        num_lines=2,
        lines=(
            up,
            ShownLine.of(17, "disk failed", alert="DISK", contribution=2.0, is_carrier=True),
        ),
    )
    assert [line.is_carrier for line in false_alarm.lines] == [True, True]
    assert [line.contribution for line in missed.lines] == [None, None]
    assert [line.number for line in passed.lines] == [22, 23]


def test_no_sequence_comes_twice_while_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, messages, windows = prepared(tmp_path)
    monkeypatch.setattr(shown_windows, "NUM_SHOWN", dict.fromkeys(shown_windows.NUM_SHOWN, 2))
    # All are flagged and normal; by their score the last two are clearest, and are one sequence.
    message_ids = [(1,), (2,), (3,), (3,)]
    nothing = np.zeros(4, dtype=bool)
    scores = np.array([0.6, 0.7, 0.8, 0.9])
    chosen = choose_windows(
        messages,
        windows,
        message_ids=message_ids,
        is_anomalous=nothing,
        scores=scores,
        contributions={},
    )
    assert chosen.confusion["false alarm"] == ShownCounts(num_windows=4, num_shown=2)
    assert [window.probability for window in chosen.windows] == [0.9, 0.7]


def test_lines_of_carriers_and_alerts_come_first_with_their_neighbours() -> None:
    # A hundred lines; message 7 carries at places 50 and 60, an alert stands at 90.
    message_ids = [7 if place in {50, 60} else 1 for place in range(100)]
    alerts = ["BAD" if place == 90 else None for place in range(100)]
    found = chosen_lines(message_ids, alerts, [7])
    places = [place for place, _ in found]
    assert {49, 50, 51, 59, 60, 61, 89, 90, 91} <= set(places)
    # The 15 that are left are the window's first.
    assert places[:16] == [*range(15), 49]
    assert len(places) == 24
    skipped = dict(found)
    assert (skipped[0], skipped[49], skipped[59], skipped[89]) == (0, 34, 7, 27)


def test_a_message_that_fills_a_window_is_shown_a_few_times_only() -> None:
    found = chosen_lines([1] * 60 + [2], [None] * 61, [1, 2])
    places = [place for place, _ in found]
    assert {0, 1, 2, 59, 60} <= set(places)
    assert len(places) == 24


def test_a_short_window_is_shown_whole() -> None:
    assert chosen_lines([1, 1, 2], [None] * 3, []) == [(0, 0), (1, 0), (2, 0)]


def test_long_lines_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "NUM_SHOWN_CHARACTERS", 4)
    line = ShownLine.of(0, "disk failed")
    assert (line.content, line.num_cut_characters) == ("disk", 7)
