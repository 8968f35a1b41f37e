from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.daily.detect.follow_file import GrowingLog
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, SessionLabels
from logllm_core.logs.catalog.sources import Archive, LocalFile
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.records.line_blocks import Block
from logllm_core.logs.sources.archives import open_stream
from logllm_core.logs.windows.open_lines import PENDING_LINES
from logllm_core.logs.windows.window_stream import WindowStream
from logllm_core.store.store import Store
from tests.logs.samples import (
    labelled_by_line,
    labelled_by_session,
    messages_of,
    published,
    window_rows,
    windows_of,
)
from tests.logs.windows.streams import blocks_of, cut, lines_of, rows_of, stream_of, without

OWN = Path("own.log")


def by_count(length: int, step: int | None = None, **changes: Any) -> Dataset:
    return labelled_by_line(
        OWN, windows={"kind": "count", "length": length, "step": step}, **changes
    )


def by_time(length: int, step: int | None = None, **changes: Any) -> Dataset:
    windows = {"kind": "time", "length_seconds": length, "step_seconds": step}
    return labelled_by_line(OWN, windows=windows, **changes)


def log_of(*times: object, label: str = "- ") -> bytes:
    return "".join(f"{label}{time} up {n}\n" for n, time in enumerate(times)).encode()


@pytest.mark.parametrize(
    ("num_lines", "length", "step", "windows"),
    [
        (5, 4, None, [[0, 1, 2, 3], [4]]),
        (8, 4, 4, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        # Sliding: the last window is the first one that reaches the log's end.
        (5, 4, 2, [[0, 1, 2, 3], [2, 3, 4]]),
        (4, 4, 2, [[0, 1, 2, 3]]),
        (7, 4, 3, [[0, 1, 2, 3], [3, 4, 5, 6]]),
        (8, 4, 3, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7]]),
        (3, 5, 1, [[0, 1, 2]]),
    ],
)
def test_windows_by_count_are_slices_of_the_log(
    num_lines: int, length: int, step: int | None, windows: list[list[int]]
) -> None:
    assert lines_of(cut(by_count(length, step), log_of(*range(num_lines)))) == windows


def test_a_window_holds_what_its_lines_say() -> None:
    log = b"- 5 link 7 up\nKERN 9 link  down \n"
    (window,) = cut(by_count(2), log)
    assert window == {
        "window_id": 0,
        "session_id": None,
        "message_ids": [0, 1],
        "line_numbers": [0, 1],
        "alerts": [False, True],
        "is_anomalous": True,
        "start_time": datetime(1970, 1, 1, 0, 0, 5),
        "end_time": datetime(1970, 1, 1, 0, 0, 9),
        "contents": ["link 7 up", "link  down"],
        "texts": ["link <*> up", "link  down"],
    }


def test_a_time_that_cannot_be_read_is_none_of_a_window_by_count() -> None:
    windows = cut(by_count(3), log_of("?", 5, 9, "?"))
    assert [(window["start_time"], window["end_time"]) for window in windows] == [
        (datetime(1970, 1, 1, 0, 0, 5), datetime(1970, 1, 1, 0, 0, 9)),
        (None, None),
    ]


def test_a_window_by_time_closes_when_two_lines_come_a_length_behind_its_end() -> None:
    stream = stream_of(by_time(10))
    times = (5, 12, 19, 20, 29, 30, 45, 46)
    ends = np.cumsum([len(log_of(time)) for time in times]).tolist()
    closed = [lines_of(stream.push(block)) for block in blocks_of(log_of(*times), ends)]
    # The first window ends at 10, the second at 20, the third at 30.
    assert closed == [[], [], [], [], [[0]], [], [[1, 2]], [[3, 4]]]
    assert lines_of(stream.close()) == [[5], [6, 7]]


def test_late_lines_make_further_windows_of_their_spans() -> None:
    stream = stream_of(by_time(10))
    (block,) = blocks_of(log_of(5, 31, 31, 6, 12, 33, 7))
    # At 31 the windows up to 10..20 have closed: 6 and 7 make a further one of 0..10, and 12 one
    # of 10..20. They would close together with 20..30, which is open and stays empty.
    assert lines_of(stream.push(block), stream.close()) == [[0], [3, 6], [4], [1, 2, 5]]
    assert stream.counts.num_late_lines == 3


def test_a_line_that_is_late_for_the_first_of_its_windows_is_in_all_of_them() -> None:
    stream = stream_of(by_time(20, 10))
    (block,) = blocks_of(log_of(5, 51, 51, 15, 51))
    # Windows of 20 s every 10 s. At 51 those up to -10..10 and 0..20 have closed; 15 is of 0..20
    # and of 10..30: both come before 30..50, which 51 does not reach, and 40..60 and 50..70.
    assert lines_of(stream.push(block), stream.close()) == [
        [0],
        [0],
        [3],
        [3],
        [1, 2, 4],
        [1, 2, 4],
    ]
    assert stream.counts.num_late_lines == 1


def test_late_lines_of_before_wait_on_with_the_window_that_they_were_put_into() -> None:
    stream = stream_of(by_time(10))
    (block,) = blocks_of(log_of(5, 31, 31, 33))
    assert lines_of(stream.push(block)) == [[0]]
    pending = stream.pending()
    of_before = replace(pending, lines=pending.lines.drop_columns(["due_key"]))
    assert lines_of(stream_of(by_time(10), of_before).close()) == [[1, 2, 3]]


def test_a_clock_that_was_set_back_does_not_make_all_lines_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("logllm_core.logs.windows.open_time_windows.MAX_LINES_BEHIND", 3)
    for cuts in ([], [40], [40, 47, 54]):
        stream = stream_of(by_time(10))
        found = []
        for block in blocks_of(log_of(1000, 1000, 1, 2, 3, 4, 15, 40), cuts):
            found += rows_of(stream.push(block))
            stream = stream_of(by_time(10), stream.pending())
        assert lines_of(found, stream.close()) == [[2, 3, 4], [0, 1], [5], [6], [7]]
        assert stream.counts.num_late_lines == 3


YEAR_2200 = 7_258_118_400


@pytest.mark.parametrize("place", [0, 1, 30, 59, 60])
def test_one_wrong_time_closes_no_window_and_is_counted(place: int) -> None:
    """Sixty windows of two lines, where one more line tells the year 2200."""
    times = [second * 5 for second in range(120)]
    log = log_of(*times[: 2 * place], YEAR_2200, *times[2 * place :])
    stream = stream_of(by_time(10))
    windows = rows_of(*map(stream.push, blocks_of(log, [500, 900])), stream.close())
    others = [n for n in range(121) if n != 2 * place]
    assert lines_of(windows) == [*(others[n : n + 2] for n in range(0, 120, 2)), [2 * place]]
    # Of the last line nobody can tell.
    assert stream.counts.num_lines_ahead == (place < 60)
    assert stream.counts.num_late_lines == 0


def test_lines_without_a_time_confirm_none_and_a_log_that_paused_goes_on() -> None:
    # The year 2200, a line that takes its time, and then on; later a week without a line.
    log = log_of(5, YEAR_2200, "?", 12, 604_812, 604_815, 604_840, 604_841)
    stream = stream_of(by_time(10))
    closed = [lines_of(stream.push(block)) for block in blocks_of(log, range(0, len(log), 7))]
    assert [window for windows in closed for window in windows] == [[0], [3], [4, 5]]
    assert lines_of(stream.close()) == [[6, 7], [1, 2]]
    assert stream.counts.num_lines_ahead == 1


def test_a_wrong_time_that_has_waited_closes_no_window_of_lines_that_came_since(
    clock: "Clock",
) -> None:
    stream = stream_of(by_time(10))
    first, second = blocks_of(log_of(5, 6, YEAR_2200, 17, 18), [36])
    stream.push(first)
    clock.now += 60
    stream.push(second)
    assert lines_of(stream.close(10)) == [[0, 1]]
    clock.now += 10
    assert lines_of(stream.close(10)) == [[3, 4], [2]]


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(0, 30), min_size=1, max_size=30),
    place=st.integers(0, 30),
    outlier=st.one_of(st.just("?"), st.integers(0, 99_999_999_999)),
    cuts=st.lists(st.integers(0, 1_000), max_size=6),
    step=st.sampled_from([10, 5]),
)
def test_one_outlier_among_ordered_lines_never_changes_the_windows_of_the_others(
    gaps: list[int], place: int, outlier: object, cuts: list[int], step: int
) -> None:
    times: list[object] = (1_000_000 + np.cumsum(gaps)).tolist()
    dataset, place = by_time(10, step), place % (len(times) + 1)
    with_outlier = log_of(*times[:place], outlier, *times[place:])
    alone = [[n + (n >= place) for n in ids] for ids in lines_of(cut(dataset, log_of(*times)))]
    found = [[n for n in ids if n != place] for ids in lines_of(cut(dataset, with_outlier, cuts))]
    assert [ids for ids in found if ids] == alone


def test_a_line_without_a_time_takes_that_of_the_line_before_and_the_first_the_first_known() -> (
    None
):
    log = log_of("?", "?", 15, "?", 29)
    windows = cut(by_time(10), log)
    assert lines_of(windows) == [[0, 1, 2, 3], [4]]
    assert windows[0]["start_time"] == windows[0]["end_time"] == datetime(1970, 1, 1, 0, 0, 15)


def test_a_log_without_any_time_is_one_window_or_where_it_is_long_an_error() -> None:
    no_label = by_time(10, labels=None)
    (window,) = cut(no_label, log_of("?", "?"))
    assert window["line_numbers"] == [0, 1]
    assert window["start_time"] is window["end_time"] is None
    with pytest.raises(LogLLMError, match="None of the first 1,000 lines has a time"):
        cut(no_label, log_of(*["?"] * 1_000))


def test_a_session_is_one_window_and_a_line_is_in_every_session_that_it_names() -> None:
    dataset = labelled_by_session(OWN, None)
    log = b"INFO blk_2 blk_1 got\nINFO nothing\nINFO blk_3 got\nINFO blk_1 blk_1 gone\n"
    stream = stream_of(dataset)
    (block,) = blocks_of(log)
    assert not len(stream.push(block))
    windows = rows_of(stream.close())
    # In the order of their first lines, then of their names, as the pipeline has them.
    assert [(w["session_id"], w["line_numbers"]) for w in windows] == [
        ("blk_1", [0, 3]),
        ("blk_2", [0]),
        ("blk_3", [2]),
    ]
    assert {window["is_anomalous"] for window in windows} == {None}
    assert stream.counts.num_lines_without_session == 1


def test_lines_that_come_after_a_session_was_closed_make_another_window_of_it() -> None:
    stream = stream_of(labelled_by_session(OWN, None))
    first, second = blocks_of(b"INFO blk_1 a\nINFO blk_1 b\n", [13])
    stream.push(first)
    ended = stream.close()
    stream.push(second)
    again = stream.close()
    assert [
        (w["window_id"], w["session_id"], w["line_numbers"]) for w in rows_of(ended, again)
    ] == [
        (0, "blk_1", [0]),
        (1, "blk_1", [1]),
    ]


def test_sessions_close_a_few_at_a_time_and_those_that_are_left_can_be_restored() -> None:
    dataset = labelled_by_session(OWN, None)
    log = "".join(f"INFO blk_{n % 7} up {n}\n" for n in range(21)).encode()
    stream = stream_of(dataset)
    (block,) = blocks_of(log)
    assert not len(stream.push(block))
    windows = []
    while some := rows_of(stream.close(at_most=2)):
        assert len(some) <= 2
        windows += some
        stream = stream_of(dataset, stream.pending())
    assert without(windows, "message_ids") == without(cut(dataset, log), "message_ids")
    assert len(stream.pending().lines) == 0


def test_lines_that_waited_are_read_as_the_data_sets_file_says_later() -> None:
    """Under a wrong time format they told nothing; under the right one the first three tell."""
    right = by_count(4)
    line = right.line.model_copy(update={"time_format": "%Y-%m-%d"})
    (block,) = blocks_of(log_of(*range(6), label=""))
    stream = stream_of(right.model_copy(update={"line": line}))
    assert not len(stream.push(block))
    stream = stream_of(right, stream.pending())
    for _ in range(2):  # also where nothing comes between two restarts
        assert len(stream.pending().lines) == 6
        stream = stream_of(right, stream.pending())
    later = Block.of(b"6 up 6\n", first_line_number=6)
    assert lines_of(stream.push(later), stream.close()) == [[0, 1, 2, 3], [4, 5, 6]]


def test_lines_that_were_cut_wait_as_the_data_sets_file_said_then() -> None:
    before, after = by_count(4), by_time(10)
    (block,) = blocks_of(log_of(*range(6)))
    stream = stream_of(before)
    assert lines_of(stream.push(block)) == [[0, 1, 2, 3]]
    pending = stream.pending()
    assert pending.dataset_of(after) == before
    old = stream_of(pending.dataset_of(after), pending)
    assert lines_of(old.close()) == [[4, 5]]
    new = stream_of(old.pending().dataset_of(after), old.pending())
    assert new.counts.num_lines == 6
    (block,) = blocks_of(log_of(12, 13, 25))
    shifted = Block(first_line_number=6, text=block.text)
    assert lines_of(new.push(shifted), new.close()) == [[6, 7], [8]]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(
            "logllm_core.logs.windows.window_stream.time.monotonic", lambda: self.now
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_an_open_window_closes_when_its_oldest_line_has_waited_long_enough(clock: Clock) -> None:
    stream = stream_of(by_count(4, labels=None, line={"fields": ["content"]}))
    blocks = blocks_of(b"a\nb\nc\nd\ne\n", [2, 4])
    for block in blocks[:2]:
        stream.push(block)
        clock.now += 3
    assert not len(stream.close(6.5))
    assert lines_of(stream.close(6)) == [[0, 1]]
    assert lines_of(stream.push(blocks[2]), stream.close()) == [[2, 3, 4]]


def test_lines_that_an_earlier_window_holds_do_not_wait(clock: Clock) -> None:
    stream = stream_of(by_count(4, 2, labels=None, line={"fields": ["content"]}))
    blocks = blocks_of(b"a\nb\nc\nd\ne\n", [8])
    assert lines_of(stream.push(blocks[0])) == [[0, 1, 2, 3]]
    clock.now += 60
    assert not len(stream.close(10))  # c and d have been judged
    stream.push(blocks[1])
    assert lines_of(stream.close()) == [[2, 3, 4]]


def test_what_comes_after_a_log_has_ended_begins_anew() -> None:
    stream = stream_of(by_count(4, 2, labels=None, line={"fields": ["content"]}))
    first, second = blocks_of(b"a\nb\nc\nd\ne\nf\n", [8])
    assert lines_of(stream.push(first), stream.close()) == [[0, 1, 2, 3]]
    assert lines_of(stream.push(second), stream.close()) == [[4, 5]]


def test_windows_by_time_and_sessions_close_when_they_have_waited(clock: Clock) -> None:
    timed = stream_of(by_time(10, 5, labels=None, line=UNLABELLED_LINE))
    for block in blocks_of(log_of(1, 12, label=""), [9]):
        timed.push(block)
        clock.now += 3
    assert lines_of(timed.close(6)) == [[0], [0]]  # from -5 and from 0 on
    assert lines_of(timed.close(3)) == [[1], [1]]
    sessions = stream_of(labelled_by_session(OWN, None))
    for block in blocks_of(b"I blk_1 a\nI blk_2 a\nI blk_1 b\nI blk_1 c\n", [10, 20, 30]):
        sessions.push(block)
        clock.now += 3
    assert lines_of(sessions.close(9)) == [[1]]  # the newest line of blk_1 came 3 s ago
    assert lines_of(sessions.close(3)) == [[0, 2, 3]]


UNLABELLED_LINE = {"fields": ["epoch", "content"], "time_fields": ["epoch"], "time_format": "epoch"}


@pytest.mark.parametrize("num_lines", [2, 4, 20])
def test_a_log_that_lacks_the_label_column_is_read_without(num_lines: int) -> None:
    stream = stream_of(by_count(4))
    log = log_of(*range(num_lines), label="")
    windows = rows_of(*map(stream.push, blocks_of(log)), stream.close())
    assert [n for w in windows for n in w["line_numbers"]] == list(range(num_lines))
    assert windows[0]["contents"][:2] == ["up 0", "up 1"]
    assert {window["is_anomalous"] for window in windows} == {None}
    assert stream.has_labels is False
    assert stream.counts.num_unparsed_lines == 0


def test_three_lines_tell_whether_there_are_labels_and_wait_until_then() -> None:
    stream = stream_of(by_count(1))
    found = []
    for block in blocks_of(log_of(*range(4)), [9, 18, 27]):
        found.append((stream.has_labels, lines_of(stream.push(block))))
    assert found == [(None, []), (None, []), (None, [[0], [1], [2]]), (True, [[3]])]


@pytest.mark.parametrize("cuts", [[], [24], [10, 20, 40]])
def test_lines_after_the_first_ones_do_not_tell_whether_there_are_labels(
    monkeypatch: pytest.MonkeyPatch, cuts: list[int]
) -> None:
    monkeypatch.setattr("logllm_core.logs.windows.label_column.MAX_LINES", 4)
    log = b"a\nb\nc\nd\n" + log_of(*range(6))
    assert {window["is_anomalous"] for window in cut(by_count(2), log, cuts)} == {None}


def test_a_title_does_not_tell_and_waits_for_lines_that_do(clock: Clock) -> None:
    title, first, second = blocks_of(b"begin\n- 5 up\nKERN 6 down\n", [6, 13])
    stream = stream_of(by_count(2))
    stream.push(title)
    clock.now += 60
    assert not len(stream.close(10))
    stream.push(first)
    clock.now += 60
    assert lines_of(stream.close(10)) == [[1]]
    assert not len(stream.push(second))
    assert [window["is_anomalous"] for window in rows_of(stream.close())] == [True]
    assert stream.counts.num_unparsed_lines == 1


def test_a_log_that_ended_after_its_title_is_read_by_the_lines_that_come_later() -> None:
    title, later = blocks_of(b"begin\n" + log_of(5, 6), [6])
    stream = stream_of(by_count(2))
    stream.push(title)
    assert not len(stream.close())
    stream = stream_of(by_count(2), stream.pending())
    stream.push(later)
    (window,) = rows_of(stream.close())
    assert (window["contents"], window["is_anomalous"]) == (["up 0", "up 1"], False)


def test_where_times_do_not_tell_the_label_of_normal_lines_does() -> None:
    dataset = by_count(2, line={"fields": ["label", "content"]})
    (labelled,) = cut(dataset, b"KERN down now\n- up again\n")
    assert labelled["contents"] == ["down now", "up again"]
    (unlabelled,) = cut(dataset, b"KERN down now\nup again\n")
    assert unlabelled["contents"] == ["KERN down now", "up again"]


def test_a_log_of_another_format_is_told_once_a_thousand_lines_are_in() -> None:
    stream = stream_of(
        labelled_by_session(
            OWN, None, line={"fields": ["a", "b", "c", "content"], "session_pattern": "x"}
        )
    )
    first, second = blocks_of(b"no such\n" * 1_000, [8 * 999])
    stream.push(first)
    stream = stream_of(stream._dataset, stream.pending())
    with pytest.raises(LogLLMError, match=r"none of the first 1,000 lines of own.log.*line 0"):
        stream.push(second)


def test_templates_of_the_training_log_are_refused() -> None:
    with pytest.raises(LogLLMError, match=r"drain-id.*Train one with --masking regex"):
        WindowStream(by_count(4), "drain-id", source="own.log")


def test_lines_that_were_cut_are_counted_across_a_restart() -> None:
    stream = stream_of(by_count(4))
    stream.push(Block.of(b"- 1 a\n- 2 b\n", first_line_number=0, are_cut=[1]))
    assert stream_of(by_count(4), stream.pending()).counts.num_shortened_lines == 1


def test_messages_stay_as_logged_where_the_model_was_trained_on_them() -> None:
    stream = WindowStream(by_count(1), "none", source="own.log")
    (block,) = blocks_of(b"- 1 node 7\n")
    (window,) = rows_of(stream.push(block), stream.close())
    assert window["texts"] == ["node 7"]


def test_messages_that_no_open_line_carries_are_forgotten_where_too_many_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("logllm_core.logs.windows.window_stream.MAX_MESSAGES", 3)
    log = "".join(f"- {n} {chr(97 + n % 26) * 3}\n" for n in range(30)).encode()
    for dataset in (by_count(4), by_count(4, 1), by_time(10), by_time(10, 5)):
        stream, windows, numbers = stream_of(dataset), [], []
        for block in blocks_of(log, range(5, len(log), 20)):
            windows += rows_of(stream.push(block))
            numbers.append(len(stream._vocabulary))
        windows += rows_of(stream.close())
        assert [w["texts"] for w in windows] == [w["contents"] for w in windows]
        assert without(windows, "message_ids") == without(cut(dataset, log), "message_ids")
        assert sorted(numbers) != numbers


SIGNS = st.sampled_from(
    ["- 5 up 1", "KERN 7 a\tb", "x", "- 17 \xe9t\xe9", "- ? zz", "", "- 31 \x00 z"]
)
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r"])
TIMED = st.tuples(st.integers(0, 90), st.integers(0, 4)).map(lambda t: f"- {t[0]} m {t[1]}")
ODD_LINES = st.lists(st.tuples(st.one_of(SIGNS, TIMED), ENDS), min_size=1, max_size=30)
CUTS = st.lists(st.integers(0, 1_000), max_size=8)
KINDS: dict[str, Callable[[], Dataset]] = {
    "count": lambda: by_count(4),
    "count sliding": lambda: by_count(5, 2),
    "time": lambda: by_time(10),
    "time sliding": lambda: by_time(20, 5),
    "sessions": lambda: labelled_by_line(
        OWN,
        line={
            "fields": ["label", "epoch", "content"],
            "session_pattern": "[a-z0-9]",
            "time_fields": ["epoch"],
            "time_format": "epoch",
        },
        windows={"kind": "session"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(lines=ODD_LINES, cuts=CUTS, has_end=st.booleans())
def test_however_a_log_comes_and_is_resumed_its_windows_are_the_same(
    kind: str, lines: list[tuple[str, str]], cuts: list[int], has_end: bool
) -> None:
    dataset = KINDS[kind]()
    log = "".join(line + end for line, end in lines).encode("latin-1")
    log = log if has_end else log.rstrip(b"\r\n")
    whole = without(cut(dataset, log), "message_ids")  # they are numbered anew after a restart
    stream = stream_of(dataset)
    windows = []
    for block in blocks_of(log, cuts):
        windows += rows_of(stream.push(block))
        saved = stream.pending()
        assert saved.lines.schema == PENDING_LINES
        again = stream_of(dataset, saved)
        assert (again.counts, again.pending().state) == (stream.counts, saved.state)
        assert again.pending().lines.equals(saved.lines)
        stream = again
    windows += rows_of(stream.close())
    assert without(windows, "message_ids") == whole


def windows_as_prepared(store: Store, dataset: Dataset, log: Path) -> tuple[list[str], Any]:
    """The vocabulary and the windows of each split, as the pipeline makes them of a file."""
    source = LocalFile(kind="file", path=str(log))
    labels = None if isinstance(dataset.labels, SessionLabels) else dataset.labels
    own = dataset.model_copy(update={"source": source, "labels": labels})
    return read_vocabulary(messages_of(store, own)), window_rows(windows_of(store, own))


def as_rows(vocabulary: list[str], windows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The windows with the ids that a vocabulary gives to their messages."""
    ids = {text: number for number, text in enumerate(vocabulary)}
    rows = [window | {"message_ids": [ids[text] for text in window["texts"]]} for window in windows]
    return without(rows, "window_id", "texts", "contents")


def unpacked(name: str, mirror: Path, folder: Path) -> tuple[Dataset, Path]:
    """A published data set and the mirror's sample of its log."""
    dataset = published(name)
    assert isinstance(dataset.source, Archive)
    log = folder / "sample.log"
    archive = str(mirror / dataset.source.file_name)
    with open_stream(archive, dataset.source.log_member) as stream:
        log.write_bytes(stream.read())
    return dataset, log


def stream_windows(dataset: Dataset, log: Path) -> list[dict[str, Any]]:
    stream = stream_of(dataset)
    pieces = [piece for piece in GrowingLog(str(log)) if piece]
    return rows_of(*(stream.push(piece.block) for piece in pieces), stream.close())


@pytest.mark.parametrize("name", ["bgl", "thunderbird"])
@pytest.mark.parametrize(
    "windows",
    [
        {"kind": "count", "length": 100},
        {"kind": "count", "length": 100, "step": 30},
        {"kind": "time", "length_seconds": 600},
        {"kind": "time", "length_seconds": 3600, "step_seconds": 600},
    ],
)
def test_published_logs_give_the_windows_that_were_trained_on(
    store: Store, tmp_path: Path, mirror: Path, name: str, windows: dict[str, Any]
) -> None:
    dataset, log = unpacked(name, mirror, tmp_path)
    dataset = Dataset.parse({**dataset.model_dump(), "windows": windows}, origin="a test")
    vocabulary, splits = windows_as_prepared(store, dataset, log)
    # Of the training split, which is the log's begin, the last windows end with it.
    end = splits["train"][-1]["line_numbers"][-1]
    trained = [row for row in splits["train"] if row["line_numbers"][-1] < end]
    found = [w for w in stream_windows(dataset, log) if w["line_numbers"][-1] < end]
    assert len(found) >= 1
    wanted = without(trained, "window_id")
    assert as_rows(vocabulary, found)[: len(wanted)] == wanted


def test_published_sessions_are_the_windows_that_were_trained_and_tested_on(
    store: Store, tmp_path: Path, mirror: Path
) -> None:
    dataset, log = unpacked("hdfs", mirror, tmp_path)
    vocabulary, splits = windows_as_prepared(store, dataset, log)
    rows = sorted((row for split in splits.values() for row in split), key=itemgetter("window_id"))
    found = stream_windows(dataset, log)
    assert [window["window_id"] for window in found] == [row["window_id"] for row in rows]
    assert as_rows(vocabulary, found) == without(rows, "window_id")


def test_a_published_log_without_its_labels_gives_the_same_windows_without_labels(
    tmp_path: Path, mirror: Path
) -> None:
    dataset, log = unpacked("bgl", mirror, tmp_path)
    labelled = stream_windows(dataset, log)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(line.partition(b" ")[2] for line in lines))
    assert any(window["is_anomalous"] for window in labelled)
    assert stream_windows(dataset, log) == [
        window | {"is_anomalous": None, "alerts": None} for window in labelled
    ]
