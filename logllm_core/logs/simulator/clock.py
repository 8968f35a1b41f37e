"""The pieces of a line that tell its time."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from logllm_core.logs.simulator.line_fragments import Ints, Sheet, Span, TextPieces

SECOND = 1_000_000  # in microseconds, the unit of all times here
DAY_SECONDS = 86_400
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def thousand(pieces: TextPieces) -> Span:
    """`000` to `999`."""
    return pieces.add(f"{number:03d}" for number in range(1_000))


def seconds_of_day(pieces: TextPieces, between: str, end: str) -> Span:
    """A piece a second of the day: hours, minutes and seconds, what is between them, an end."""
    sixty = [f"{number:02d}" for number in range(60)]
    minutes = [f"{hour}{between}{minute}{between}" for hour in sixty[:24] for minute in sixty]
    ends = [second + end for second in sixty]
    return pieces.add(minute + second for minute in minutes for second in ends)


def fill_epoch(sheet: Sheet, position: int, seconds_L: Ints, digits: Span) -> None:
    """Seconds since 1970, in two pieces; times never run backwards."""
    high_L, low_L = np.divmod(seconds_L, 1_000)
    lowest, highest = int(high_L[0]), int(high_L[-1])
    first = sheet.add([str(number).encode() for number in range(lowest, highest + 1)])
    sheet.fill(position, high_L + (first - lowest))
    sheet.fill(position + 1, low_L + digits.first)


def fill_day(
    sheet: Sheet, position: int, seconds_L: Ints, layout: Callable[[datetime], str]
) -> None:
    days_L = seconds_L // DAY_SECONDS
    lowest, highest = int(days_L[0]), int(days_L[-1])
    days = (datetime.fromtimestamp(day * DAY_SECONDS, UTC) for day in range(lowest, highest + 1))
    first = sheet.add([layout(day).encode() for day in days])
    sheet.fill(position, days_L + (first - lowest))
