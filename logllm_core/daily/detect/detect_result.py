"""What one call of `detect` did."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.stream_state import Counts
from logllm_core.scoring.judge import Judgements


@dataclass(kw_only=True, slots=True)
class Detected:
    """What one call of `detect` did."""

    num_logs: int = 0
    num_lines: int = 0
    num_unparsed_lines: int = 0
    num_shortened_lines: int = 0  # longer than is read of a line, see `line.max_line_bytes`
    num_late_lines: int = 0  # in a further window of their span of time
    num_lines_ahead: int = 0  # whose time is far ahead of the next line's
    num_windows: int = 0  # judged now
    num_reused_windows: int = 0  # of these, not scored: their messages were scored before
    num_anomalous_windows: int = 0
    num_unlocalized_windows: int = 0  # anomalous, but too many to say which lines carried them
    num_cut_lines: int = 0  # whose message is longer than the model reads
    num_cut_short_logs: int = 0  # followed before, and their rest was not found again
    num_followed_logs: int = 0  # by another call, which judges what is new in them
    num_faults: int = 0  # logs, or their cursors, that could not be read
    left_out: Mapping[str, int] = field(default_factory=dict)  # files of folders, by reason

    def add_judged(self, judged: Judgements) -> None:
        self.num_windows += len(judged.log_odds)
        self.num_reused_windows += int(judged.are_reused.sum())
        self.num_cut_lines += int(judged.num_cut_lines.sum())
        self.num_anomalous_windows += int(judged.are_flagged.sum())
        self.num_unlocalized_windows += sum(
            judged.contributions[window] is None
            for window in np.flatnonzero(judged.are_flagged).tolist()
        )

    def add_lines(self, before: Counts, after: Counts) -> None:
        """What became of lines that were read between two countings."""
        self.num_lines += after.num_lines - before.num_lines
        self.num_unparsed_lines += after.num_unparsed_lines - before.num_unparsed_lines
        self.num_shortened_lines += after.num_shortened_lines - before.num_shortened_lines
        self.num_lines_ahead += after.num_lines_ahead - before.num_lines_ahead
        self.num_late_lines += after.num_late_lines - before.num_late_lines

    @property
    def sentence(self) -> str:
        logs = "1 log" if self.num_logs == 1 else f"{self.num_logs:,} logs"
        sentence = (
            f"{logs}, {self.num_lines:,} new lines in {self.num_windows:,} windows judged now, "
            f"{self.num_anomalous_windows:,} of them anomalous"
        )
        for number, what in (
            (self.num_reused_windows, "were judged before by their messages"),
            (self.num_unlocalized_windows, "anomalous ones were too many to say why"),
            (self.num_unparsed_lines, "lines do not match the format"),
            (self.num_shortened_lines, "lines were too long, and read without their rest"),
            (
                self.num_cut_lines,
                "lines are longer than the model reads, and their ends not judged",
            ),
            (self.num_late_lines, "lines came late"),
            (self.num_lines_ahead, "lines told a time far ahead of the next one's"),
            (self.num_cut_short_logs, "logs were rotated away and not found again"),
            (
                self.num_followed_logs,
                "logs are followed by another call, and told as far as it came",
            ),
            (self.num_faults, "logs could not be judged as a whole"),
            *((number, reason) for reason, number in self.left_out.items()),
        ):
            sentence += f"; {number:,} {what}" if number else ""
        return f"{sentence}."


class UnjudgedError(LogLLMError):
    """Some logs could not be judged; what became of the others is `detected`."""

    def __init__(self, message: str, detected: Detected) -> None:
        super().__init__(message)
        self.detected = detected
