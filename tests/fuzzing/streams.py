"""A log that grows: however it comes and is resumed, its windows are the same."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.records.line_blocks import Block
from logllm_core.logs.records.line_cutter import LineCutter, with_end
from logllm_core.logs.windows.window_stream import WindowStream
from tests.fuzzing import hostile
from tests.logs.plain import plain_messages
from tests.logs.samples import labelled_by_line, labelled_by_session, lines_as_python_reads_them
from tests.logs.windows.streams import rows_of, without

Row = dict[str, Any]
OWN = Path("own.log")
LABELS: tuple[dict[str, Any] | None, ...] = ({"kind": "field"}, None)


def _windows() -> list[dict[str, Any]]:
    by_count = [{"kind": "count", "length": n, "step": s} for n, s in ((3, None), (4, 1), (5, 3))]
    by_time = [
        {"kind": "time", "length_seconds": n, "step_seconds": s} for n, s in ((5, None), (6, 2))
    ]
    return [*by_count, *by_time]


DATASETS: list[Dataset] = [
    *(labelled_by_line(OWN, windows=own, labels=labels) for own in _windows() for labels in LABELS),
    labelled_by_session(OWN, None),
]
SAMPLES = (
    *(b"- %d link %d up" % (1_117_838_570 + n, n) for n in (0, 1, 2, 3, 5, 8, 13, 40, 90)),
    *(b"KERN 1117838575 panic", b"1117838577 no label here", b"? no time", b"- x y"),
    *(b"INFO received blk_%d" % n for n in range(3)),
    b"WARN blk_1 and blk_2 differ",
)


def fuzz(random: Random) -> list[str]:
    """One log of up to 20 lines, cut at random bytes, left and resumed in between."""
    return [_fuzz(random)]


def _fuzz(random: Random) -> str:
    dataset = random.choice(DATASETS)
    raw = hostile.log(random, SAMPLES, random.randrange(20))
    at_once, fault = _cut(dataset, raw, [], None)
    cuts = sorted(random.randrange(len(raw) + 1) for _ in range(random.randrange(4)))
    in_pieces, other_fault = _cut(dataset, raw, cuts, random)
    assert (at_once, fault) == (in_pieces, other_fault), (dataset, raw, cuts)
    if fault is not None:
        return "refused"
    _check(dataset, raw, at_once)
    return "cut" if at_once else "without windows"


def _cut(
    dataset: Dataset, raw: bytes, cuts: Sequence[int], random: Random | None
) -> tuple[list[Row], str | None]:
    """The windows of a log and None, or those up to the error and the error."""
    cutter, windows, num_lines = LineCutter(), list[Row](), 0
    try:
        stream = WindowStream(dataset, "regex", source="own.log")
        places = [0, *cuts, len(raw)]
        pieces = [raw[start:stop] for start, stop in itertools.pairwise(places)]
        lots = [cutter.push(piece) for piece in pieces if piece]
        for ended in (*lots, cutter.rest()):
            if not ended:
                continue
            block = Block.of(with_end(ended), first_line_number=num_lines)
            num_lines += len(block)
            windows += rows_of(stream.push(block))
            if random and random.random() < 0.5:
                pending = stream.pending()
                stream = WindowStream(dataset, "regex", source="own.log", pending=pending)
        windows += rows_of(stream.close())
    except LogLLMError as fault:
        return [], str(fault)
    return without(windows, "message_ids"), None


def _check(dataset: Dataset, raw: bytes, windows: Sequence[Row]) -> None:
    """Ids without a gap; every line that was kept is in a window, none twice, none made up."""
    assert [window["window_id"] for window in windows] == list(range(len(windows)))
    lines = lines_as_python_reads_them(raw)
    for window in windows:
        assert window["line_numbers"] == sorted(window["line_numbers"])
        assert len(window["line_numbers"]) == len(window["texts"]) > 0
        for number, content in zip(window["line_numbers"], window["contents"], strict=True):
            assert content in lines[number]
    if dataset.labels is not None:  # whether the log has labels is guessed there
        return
    wanted, _, _ = plain_messages(dataset, lines)
    held = {number for window in windows for number in window["line_numbers"]}
    in_a_session = [m.line_number for m in wanted if m.session_ids or not dataset.line.has_sessions]
    assert held == set(in_a_session)
