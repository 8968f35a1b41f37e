"""A batch of judged windows as rows of `tables.NEW_PREDICTIONS`."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from logllm_core import tables
from logllm_core.logs.windows.window_stream import NewWindow
from logllm_core.scoring.judge import Judgement
from logllm_core.store.store import Json

# The lines that carried a verdict: of so many messages at most, the first line of each, and of none
# that contributed less than this share of what the strongest did.
MAX_LINES, LEAST_SHARE = 10, 0.1


def verdicts(
    windows: Sequence[NewWindow],
    judgements: Sequence[Judgement],
    *,
    log_id: str,
    source: str,
    model: str,
) -> pa.Table:
    """A row a window; `source` is the log as it was named, `model` a trained stage."""
    judged = datetime.now(UTC).replace(tzinfo=None)
    rows = [
        {
            "window_id": window.window_id,
            "log_id": log_id,
            "session_id": window.session_id,
            "source": source,
            "first_line": min(window.line_numbers),
            "last_line": max(window.line_numbers),
            "num_lines": len(window.line_numbers),
            "num_unseen_lines": judgement.num_unseen_lines,
            "num_cut_lines": judgement.num_cut_lines,
            "start_time": window.start_time,
            "end_time": window.end_time,
            "probability": judgement.probability,
            "verdict": "anomalous" if judgement.is_flagged else "normal",
            "is_anomalous": window.is_anomalous,
            "lines": carriers(window, judgement),
            "model": model,
            "judged": judged,
        }
        for window, judgement in zip(windows, judgements, strict=True)
    ]
    return pa.Table.from_pylist(rows, tables.NEW_PREDICTIONS)


def carriers(window: NewWindow, judgement: Judgement) -> list[dict[str, Json]] | None:
    """The lines that carried a verdict, strongest first; a repeated message's first line alone.

    Of a long window they are in the part that decided.
    """
    found = judgement.contributions
    if found is None:
        return None
    least = LEAST_SHARE * max(found.values(), default=0.0)
    strongest = sorted(found, key=lambda place: -found[place])[:MAX_LINES]
    return [
        {
            "line_number": window.line_numbers[place],
            "content": window.contents[place],
            "contribution": found[place],
        }
        for place in strongest
        if found[place] > max(least, 0.0)
    ]
