"""A batch of judged windows as rows of `tables.NEW_PREDICTIONS`."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.logs.windows.message_windows import NewWindows
from logllm_core.scoring.judge import Judgements
from logllm_core.scoring.verdicts import carriers_of, verdict_columns
from logllm_core.store.store import Json

MAX_LINES = 10  # that carried a verdict: of so many messages, the first line of each
OF_WINDOWS = ("window_id", "session_id", "start_time", "end_time", "is_anomalous")


def verdicts(
    windows: NewWindows,
    judged: Judgements,
    num_unseen_lines: NDArray[np.int64] | None,
    *,
    log_id: str,
    source: str,
    model: str,
) -> pa.Table:
    """A row a window; `source` is the log as it was named, `model` a trained stage."""
    if not len(windows):
        return tables.NEW_PREDICTIONS.empty_table()
    numbers, starts = windows.line_numbers, windows.starts
    unseen = pa.nulls(len(windows)) if num_unseen_lines is None else pa.array(num_unseen_lines)
    columns = {
        **{name: windows.table[name] for name in OF_WINDOWS},
        **verdict_columns(judged.probabilities, judged.are_flagged),
        "log_id": pa.repeat(log_id, len(windows)),
        "source": pa.repeat(source, len(windows)),
        "first_line": numbers[starts[:-1]],
        "last_line": numbers[starts[1:] - 1],
        "num_lines": np.diff(starts),
        "num_unseen_lines": unseen,
        "num_cut_lines": judged.num_cut_lines,
        "lines": pa.array(
            [carrying_lines(windows, judged, window) for window in range(len(windows))],
            tables.NEW_PREDICTIONS.field("lines").type,
        ),
        "model": pa.repeat(model, len(windows)),
        "judged": pa.repeat(datetime.now(UTC).replace(tzinfo=None), len(windows)),
    }
    return pa.table(columns).select(tables.NEW_PREDICTIONS.names).cast(tables.NEW_PREDICTIONS)


def carrying_lines(
    windows: NewWindows, judged: Judgements, window: int
) -> list[dict[str, Json]] | None:
    """The lines that carried a verdict, strongest first; a repeated message's first line alone.

    Of a long window they are in the part that decided.
    """
    contributions = judged.contributions[window]
    if contributions is None:
        return None
    return [
        {
            "line_number": windows.table["line_numbers"][window].values[line].as_py(),
            "content": windows.content(window, line),
            "contribution": contributions[line],
        }
        for line in carriers_of(contributions, MAX_LINES)
    ]
