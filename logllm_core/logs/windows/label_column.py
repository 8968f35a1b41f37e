"""Whether a new log's lines carry the label that those of the training log carried.

Published logs have a column of labels; a log that nobody has looked at has none. Where fields are
told apart by their place alone, all others stand one place further left then.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from logllm_core.logs.catalog import line_format
from logllm_core.logs.catalog.catalog import Dataset, FieldLabels
from logllm_core.logs.messages.parsing import ParsedBlock, parse_block
from logllm_core.logs.records.line_blocks import Block
from logllm_core.logs.windows.open_lines import CONTENT, NUMBER, STRINGS, Lines, no_lines
from logllm_core.store.store import Json

CLEAR_LEAD = 3  # lines by which one reading must be ahead of the other
MAX_LINES = 1_000  # that wait for it

Ready = list[tuple[Block, float]]  # lines and their arrival


class LabelColumn:
    """Holds the first lines back until they have told whether they carry labels.

    A line speaks for the reading with which its time can be read, if the other reads none. Where
    both do or there is no time, the value of normal lines in the label's place speaks for labels.
    Logs that speak for neither are read without.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        is_there: bool | None = None,
        lead: int = 0,
        has_sound_lines: bool = False,
    ) -> None:
        self._labelled = dataset
        self._unlabelled = _without_label_column(dataset)
        # Where nothing can be amiss, lines are read as the data set's file says.
        self._is_there = True if self._unlabelled is None else is_there
        self._held: Ready = []
        self._lead = lead  # of the labelled reading
        self._has_sound_lines = has_sound_lines  # that look right without labels

    @property
    def is_settled(self) -> bool:
        return self._is_there is not None

    @property
    def is_waiting(self) -> bool:
        """Whether lines are held back."""
        return bool(self._held)

    @property
    def settled(self) -> Dataset | None:
        """How lines are read, once that is known."""
        if self._is_there is None:
            return None
        return self._labelled if self._is_there else self._unlabelled

    def push(self, block: Block, *, arrived: float) -> Ready:
        """The lines that can be read now: these, those that waited, or none."""
        self._hold(block, arrived)
        num_held = sum(len(held) for held, _ in self._held)
        if self.is_settled or abs(self._lead) >= CLEAR_LEAD or num_held >= MAX_LINES:
            return self._settle()
        return []

    def _hold(self, block: Block, arrived: float) -> None:
        """Let lines wait, and hear them where that is wanted still."""
        self._held.append((block, arrived))
        if self.is_settled or abs(self._lead) >= CLEAR_LEAD:
            return
        leads = self._lead + np.cumsum(self._votes(block))
        num_before = sum(len(held) for held, _ in self._held) - len(block)
        leads = leads[: max(MAX_LINES - num_before, 0)]  # later lines do not speak
        clear = np.flatnonzero(np.abs(leads) >= CLEAR_LEAD)
        if len(leads):
            self._lead = int(leads[clear[0]] if len(clear) else leads[-1])

    def settle(self, *, arrived_by: float) -> Ready:
        """The lines that wait, where the oldest came by then.

        Lines that no reading makes sense of, such as a title, go on waiting for others, unless the
        log ends.
        """
        is_told = (
            self.is_settled or self._lead != 0 or self._has_sound_lines or arrived_by == np.inf
        )
        if self._held and is_told and self._held[0][1] <= arrived_by:
            return self._settle()
        return []

    def reconsider(self) -> None:
        """The log ended, but may grow: what was settled without a sign is open again."""
        if self._unlabelled is not None and self._lead == 0 and not self._has_sound_lines:
            self._is_there = None

    def state(self) -> Json:
        return {
            "is_there": None if self.is_waiting else self._is_there,
            "lead": 0 if self.is_waiting else self._lead,  # lines that wait tell again
            "has_sound_lines": self._has_sound_lines,
        }

    def table(self) -> pa.Table:
        """The lines that wait, as they are, for `open_lines.PENDING_LINES`."""
        numbers = [np.arange(len(block)) + block.first_line_number for block, _ in self._held]
        lines = [block.lines().cast(STRINGS) for block, _ in self._held]
        none = no_lines()
        return Lines(
            {
                NUMBER: np.concatenate([none[NUMBER], *numbers]),
                CONTENT: pa.concat_arrays([none[CONTENT], *lines]),
            }
        ).table()

    def restore(self, lines: pa.Table, *, arrived: float) -> None:
        """They wait on, also where they tell now: the file may say otherwise how they are read."""
        if len(lines):
            text = "".join(f"{line}\n" for line in lines[CONTENT].to_pylist()).encode("latin-1")
            first_line_number = lines[NUMBER][0].as_py()
            self._hold(Block(first_line_number=first_line_number, text=text), arrived)

    def _settle(self) -> Ready:
        if self._is_there is None:
            self._is_there = self._lead > 0
        ready, self._held = self._held, []
        return ready

    def _votes(self, block: Block) -> NDArray[np.int64]:
        """For each line: 1 speaks for labels, -1 against, 0 for neither."""
        assert self._unlabelled is not None
        with_labels = parse_block(self._labelled, block)
        without = parse_block(self._unlabelled, block)
        has_time = _has_time(without, block)
        votes = _has_time(with_labels, block).astype(np.int64) - has_time
        is_timed = self._labelled.line.time_format is not None
        self._has_sound_lines |= bool(has_time.any() if is_timed else len(without.line_numbers))
        is_normal = np.zeros(len(block), dtype=bool)
        is_normal[_rows(with_labels, block)] = with_labels.alerts.is_null()
        return np.where((votes == 0) & is_normal, 1, votes)


def _rows(parsed: ParsedBlock, block: Block) -> NDArray[np.int64]:
    """Where the lines that were kept stand in their block."""
    rows: NDArray[np.int64] = parsed.line_numbers.to_numpy() - block.first_line_number
    return rows


def _has_time(parsed: ParsedBlock, block: Block) -> NDArray[np.bool_]:
    has_time = np.zeros(len(block), dtype=bool)
    has_time[_rows(parsed, block)] = pc.is_valid(parsed.times)
    return has_time


def _without_label_column(dataset: Dataset) -> Dataset | None:
    """The data set without its column of labels; None where it has none, or is not told so."""
    labels, line = dataset.labels, dataset.line
    if not isinstance(labels, FieldLabels) or line.pattern is not None:
        return None
    if labels.field in (line_format.CONTENT, line.session_field, *line.time_fields):
        return None
    fields = tuple(name for name in line.fields if name != labels.field)
    return dataset.model_copy(
        update={"line": line.model_copy(update={"fields": fields}), "labels": None}
    )
