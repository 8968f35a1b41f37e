"""What a stream makes of windows by time, the slow way, a line at a time.

A stream cannot wait for ever, so its windows close. What comes for a window that has closed makes
a further window of the same span: it waits as long as the oldest span that is open, and closes
together with it, before it. Of lines that come late nothing is lost or moved to another span: the
windows of one span, put together, are the one that the whole log has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.logs.plain import PlainMessage

NEVER, EVER = -(10**15), 10**15  # seconds
Lines = list[PlainMessage]


@dataclass(kw_only=True)
class PlainSpans:
    """Spans of time that are open, and the clock that closes them."""

    length: int  # seconds
    step: int
    most_behind: int  # lines in a row after their spans: then it was the clock that was set back
    clock: int = NEVER  # what two lines in a row have reached
    before: int | None = None  # what the last line told
    num_behind: int = 0
    num_late: int = 0
    open: dict[tuple[int, int], Lines] = field(default_factory=dict)  # by (closes with, begin)
    closed: list[tuple[int, Lines]] = field(default_factory=list)  # begin and lines

    @property
    def last_closed(self) -> int:
        """The begin of the last span whose end lies a length behind the clock."""
        return (self.clock - 2 * self.length) // self.step * self.step

    def push(self, line: PlainMessage, second: int, *, is_told: bool) -> None:
        """A line whose time is that second; `is_told`: by itself, not by the line before."""
        begin = second - second % self.step
        begins = [
            b for b in range(begin, begin - self.length, -self.step) if b > second - self.length
        ]
        last_closed = self.last_closed
        for begin in begins:
            closes_with = max(begin, last_closed + self.step)
            self.open.setdefault((closes_with, begin), []).append(line)
        self.num_late += min(begins) <= last_closed
        self.num_behind = self.num_behind + 1 if max(begins) <= last_closed else 0
        if is_told:
            if self.before is not None:
                self.clock = max(self.clock, min(self.before, second))
            self.before = second
        if self.num_behind == self.most_behind:
            self.close(EVER)
            self.clock, self.num_behind = NEVER, 0
        self.close(self.last_closed)

    def close(self, last: int) -> None:
        for closes_with, begin in sorted(self.open):
            if closes_with <= last:
                self.closed.append((begin, self.open.pop((closes_with, begin))))


def plain_spans(
    messages: Sequence[PlainMessage], length: int, step: int, *, most_behind: int = 1_000
) -> PlainSpans:
    """All windows by time of a log that has ended; one line at least tells its time."""
    spans = PlainSpans(length=length, step=step, most_behind=most_behind)
    last = next(message.time for message in messages if message.time is not None)
    for message in messages:
        last = message.time or last
        second = (last - datetime(1970, 1, 1)) // timedelta(seconds=1)
        spans.push(message, second, is_told=message.time is not None)
    spans.close(EVER)
    return spans
