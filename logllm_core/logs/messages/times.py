"""The times of lines, in UTC."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from logllm_core.logs.catalog.line_format import EPOCH, EPOCH_MS, ISO

MICROSECONDS = pa.timestamp("us")
# A year 0 can be written, and a zone can lead beyond 9999, where Python's datetime does not go.
_EARLIEST, _LATEST = (pa.scalar(limit, MICROSECONDS) for limit in (datetime.min, datetime.max))
_MAX_DIGITS = {EPOCH: 11, EPOCH_MS: 14}  # beyond, microseconds do not fit 64 bits
_UNIT = {EPOCH: "s", EPOCH_MS: "ms"}
_ISO = (
    r"^(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,6})\d*)?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>[0-5]\d))?$"
)


def read_times(fields: Sequence[pa.StringArray], time_format: str) -> pa.TimestampArray:
    """One time for each line, null where it cannot be read.

    Args:
        fields: the line's fields that tell the time, joined by blanks before they are read.
        time_format: see LineFormat.
    """
    joined = fields[0] if len(fields) == 1 else pc.binary_join_element_wise(*fields, " ")
    # Many lines share a second: each distinct text is read once.
    distinct = joined.dictionary_encode()
    if time_format in _UNIT:
        times = _from_number(distinct.dictionary, time_format)
    elif time_format == ISO:
        times = _from_iso(distinct.dictionary)
    else:
        times = _strptime(distinct.dictionary, time_format)
    times = times.cast(MICROSECONDS)
    is_told = pc.and_(pc.greater_equal(times, _EARLIEST), pc.less_equal(times, _LATEST))
    return pc.if_else(is_told, times, None).take(distinct.indices)


def _from_number(texts: pa.StringArray, time_format: str) -> pa.TimestampArray:
    is_number = pc.and_(
        pc.ascii_is_decimal(texts),
        pc.less_equal(pc.binary_length(texts), _MAX_DIGITS[time_format]),
    )
    numbers = pc.if_else(is_number, texts, None).cast(pa.int64())
    return numbers.cast(pa.timestamp(_UNIT[time_format]))


def _strptime(texts: pa.StringArray, time_format: str) -> pa.TimestampArray:
    return pc.strptime(texts, format=time_format, unit="s", error_is_null=True)


def _from_iso(texts: pa.StringArray) -> pa.TimestampArray:
    """ISO 8601 with a fraction and a zone, or without; without a zone it is read as UTC."""
    match = pc.extract_regex(texts, _ISO)
    part = {field.name: pc.struct_field(match, field.name) for field in match.type}
    seconds = _strptime(
        pc.binary_join_element_wise(part["date"], part["time"], " "), "%Y-%m-%d %H:%M:%S"
    )
    fraction = pc.utf8_rpad(part["fraction"], width=6, padding="0").cast(pa.int64())
    zone = pc.add(_number(part["hours"], 3600), _number(part["minutes"], 60))
    zone = pc.if_else(pc.equal(part["sign"], "-"), pc.negate(zone), zone)
    shift = pc.subtract(fraction, pc.multiply(zone, 1_000_000))
    return pc.add(seconds.cast(MICROSECONDS), shift.cast(pa.duration("us")))


def _number(texts: pa.StringArray, factor: int) -> pa.Int64Array:
    """Zero where the text is empty: an optional group that did not take part is empty, not null."""
    is_empty = pc.equal(texts, "")
    return pc.multiply(pc.if_else(is_empty, "0", texts).cast(pa.int64()), factor)
