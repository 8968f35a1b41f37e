"""Windows of new lines, made of their masked messages, and judgements window by window."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa

from logllm_core.logs.windows.message_windows import NEW_WINDOWS, NewWindows
from logllm_core.scoring.judge import Judgements


def new_windows(*windows: Sequence[str], first_line: int = 0) -> NewWindows:
    """Lines that follow each other, whose content is their masked message in brackets."""
    ids: dict[str, int] = {}
    starts = np.cumsum([first_line, *map(len, windows)]).tolist()
    rows = [
        {
            "window_id": number,
            "message_ids": [ids.setdefault(text, len(ids)) for text in texts],
            "line_numbers": list(range(start, start + len(texts))),
            "contents": [f"[{text}]" for text in texts],
        }
        for number, (texts, start) in enumerate(zip(windows, starts, strict=False))
    ]
    table = pa.Table.from_pylist(rows, NEW_WINDOWS)
    return NewWindows(table=table, texts=list(dict.fromkeys(chain(*windows))))


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What is said of one window."""

    probability: float
    is_flagged: bool
    contributions: dict[int, float] | None
    num_cut_lines: int
    is_reused: bool


def each(judged: Judgements) -> list[Judgement]:
    return [
        Judgement(
            probability=float(judged.probabilities[window]),
            is_flagged=bool(judged.are_flagged[window]),
            contributions=None if contributed is None else dict(contributed),
            num_cut_lines=int(judged.num_cut_lines[window]),
            is_reused=bool(judged.are_reused[window]),
        )
        for window, contributed in enumerate(judged.contributions)
    ]


def judgements(*contributed: dict[int, float] | None, num_cut_lines: int = 0) -> Judgements:
    """Of windows that are each flagged, by one excerpt."""
    number = len(contributed)
    return Judgements(
        log_odds=np.full(number, 2.0),
        first_log_odds=np.full(number, 2.0),
        deciding=[()] * number,
        num_excerpts=np.ones(number, dtype=np.int64),
        num_cut_lines=np.full(number, num_cut_lines),
        contributions=list(contributed),
        are_reused=np.zeros(number, dtype=np.bool_),
        localization_seconds=0.0,
    )
