"""A model's verdicts about logs at hand, of which nothing is written down."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.daily.detect.verdict_rows import verdicts
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages import Masking
from logllm_core.logs.records.line_blocks import Block, read_blocks
from logllm_core.logs.sources.archives import open_stream
from logllm_core.logs.windows.message_windows import NEW_WINDOWS, NewWindows
from logllm_core.logs.windows.stream_state import Counts
from logllm_core.logs.windows.window_stream import WindowStream
from logllm_core.notebook.tables import Table
from logllm_core.progress import track
from logllm_core.scoring.new_log_judge import NewLogJudge


@dataclass(frozen=True, kw_only=True, slots=True)
class CarryingLine:
    """A line that carried an alarm, and how much it spoke for it, in log-odds."""

    line_number: int  # counted from 0 in the log
    content: str
    contribution: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """A window that the model calls anomalous."""

    source: str  # the log, as it was named
    window_id: int
    session_id: str | None
    first_line: int
    last_line: int
    start_time: datetime | None
    end_time: datetime | None
    probability: float
    lines: tuple[CarryingLine, ...]  # strongest first

    def __repr__(self) -> str:
        where = f"{self.source}:{self.first_line}-{self.last_line}"
        return f"Alarm({where}, probability {self.probability:.3f}, {len(self.lines)} lines)"


@dataclass(frozen=True, slots=True)
class Detection:
    """What a model says of each window of some logs; iterated over, its alarms."""

    table: pa.Table  # as in tables.NEW_PREDICTIONS
    counts: Counts  # what became of the lines

    def __repr__(self) -> str:
        told = f"{len(self)} alarms in {self.table.num_rows:,} windows"
        for name, number in asdict(self.counts).items():
            if number and name not in {"num_lines", "num_kept_lines"}:
                told += f"; {number:,} {name.removeprefix('num_').replace('_', ' ')}"
        return f"Detection({told})"

    def __len__(self) -> int:
        return len(self._flagged())

    def __iter__(self) -> Iterator[Alarm]:
        names = [name for name in Alarm.__slots__ if name != "lines"]
        for row in self._flagged().to_pylist():
            lines = tuple(CarryingLine(**line) for line in row["lines"] or ())
            yield Alarm(**{name: row[name] for name in names}, lines=lines)

    @property
    def windows(self) -> Table:
        """A row a window, normal ones too."""
        return Table("verdicts", lambda: self.table)

    def _flagged(self) -> pa.Table:
        return self.table.filter(pc.equal(self.table["verdict"], "anomalous"))


def judge_logs(
    judge: NewLogJudge, dataset: Dataset, masking: Masking, paths: Sequence[str]
) -> Detection:
    """Read each log from its beginning to its end, as `dataset` says that lines are."""
    parts, counts = [tables.NEW_PREDICTIONS.empty_table()], Counts()
    for path in paths:
        stream = WindowStream(dataset, masking, source=path)
        parts += _judge_log(judge, dataset, stream, path)
        counts = counts.plus(stream.counts)
    return Detection(pa.concat_tables(parts), counts)


def _judge_log(
    judge: NewLogJudge, dataset: Dataset, stream: WindowStream, path: str
) -> Iterator[pa.Table]:
    most = dataset.line.max_line_bytes
    with open_stream(path, None) as opened, track(f"Judging {path}", unit="windows") as advance:
        for windows in _closed(stream, read_blocks(opened, max_line_bytes=most)):
            unseen = judge.num_unseen_lines(windows)
            judged = judge.judge(windows)
            yield verdicts(windows, judged, unseen, log_id="", source=path, model=judge.fingerprint)
            advance(len(windows))


def _closed(stream: WindowStream, blocks: Iterator[Block]) -> Iterator[NewWindows]:
    for block in blocks:
        yield stream.push(block)
    yield stream.close()


def score(
    judge: NewLogJudge, masking: Masking, windows: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    """The probability of "anomalous" of windows at hand [W], each some messages as logged.

    Raises:
        LogLLMError: a window holds no message.
    """
    rows = []
    for number, contents in enumerate(windows):
        if isinstance(contents, str) or not len(contents):
            raise LogLLMError(
                f"Window {number} is {contents!r}. A list of windows is wanted, each a list of at "
                'least one message: [["link is up", "link is down"], ...].'
            )
        lines = list(range(len(contents)))
        rows.append(
            {
                "window_id": number,
                "message_ids": [0] * len(lines),
                "line_numbers": lines,
                "contents": list(contents),
            }
        )
    if not rows:
        return np.empty(0)
    unmasked = NewWindows(table=pa.Table.from_pylist(rows, NEW_WINDOWS), texts=[""])
    return judge.judge(unmasked.masked_anew(masking)).probabilities
