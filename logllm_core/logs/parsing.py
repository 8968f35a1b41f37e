"""From bytes to fields: lines, their labels, times, session ids and content.

Logs are not UTF-8: bytes are read as latin-1, so every byte has a character. As in Python's text
mode, which the reference code uses, LF, CRLF and a lone CR each end a line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logllm_core.logs.catalog import CONTENT, Dataset, FieldLabels, LineFormat

VERSION = 1  # raise when a line would be parsed differently
BLOCK_BYTES = 8 << 20
# What Python calls white space; RE2's own \s leaves out the second half.
_SPACE = r"\s\x0b\x1c-\x1f\x{85}\x{a0}"
_MAX_EPOCH = r"^\d{1,11}$"  # beyond, microseconds do not fit 64 bits


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedBlock:
    """Consecutive lines of the raw file, those that match the format apart from the others."""

    line_numbers: pa.Int64Array
    times: pa.TimestampArray
    contents: pa.StringArray
    alerts: pa.StringArray
    session_ids: pa.ListArray
    reject_numbers: pa.Int64Array
    reject_lines: pa.StringArray


def read_lines(
    stream: BinaryIO,
    line_slice: tuple[int, int] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[tuple[int, pa.StringArray]]:
    """Blocks of lines with the 0-based number of their first line.

    Reads no further than the end of `line_slice`; memory is bounded by a block and the longest
    line.
    """
    start, stop = line_slice or (0, None)
    first = 0
    for block in _whole_lines(stream, block_bytes):
        lines = _split_lines(block)
        wanted = lines[max(start - first, 0) : None if stop is None else max(stop - first, 0)]
        if len(wanted):
            yield max(start, first), wanted
        first += len(lines)
        if stop is not None and first >= stop:
            return


def _whole_lines(stream: BinaryIO, block_bytes: int) -> Iterator[bytes]:
    """Blocks that end with a line's end, all ends as LF."""
    pending: list[bytes] = []
    while chunk := stream.read(block_bytes):
        if pending and pending[-1].endswith(b"\r"):  # perhaps the first half of CRLF
            chunk = pending.pop() + chunk
        cut = max(chunk.rfind(b"\n"), chunk.rfind(b"\r", 0, len(chunk) - 1)) + 1
        if cut == 0:
            pending.append(chunk)
            continue
        yield _with_lf(b"".join([*pending, chunk[:cut]]))
        pending = [chunk[cut:]] if cut < len(chunk) else []
    if rest := _with_lf(b"".join(pending)):
        yield rest if rest.endswith(b"\n") else rest + b"\n"


def _with_lf(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block


def _split_lines(block: bytes) -> pa.StringArray:
    """Lines of an LF-terminated block as UTF-8, without a Python object per line."""
    if not block.isascii():
        block = block.decode("latin-1").encode("utf-8")
    content = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(content == ord("\n"))
    offsets = np.zeros(len(ends) + 1, dtype=np.int32)
    offsets[1:] = ends - np.arange(len(ends))  # line ends leave the text
    text = block.replace(b"\n", b"")
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(text))


def line_pattern(line: LineFormat) -> str:
    """The regular expression of a line format: fields, white space, the rest."""
    fields = "".join(f"(?P<{name}>[^{_SPACE}]+)[{_SPACE}]+" for name in line.fields[:-1])
    return f"^[{_SPACE}]*{fields}(?P<{CONTENT}>[^{_SPACE}](?s:.*))$"


def parse_lines(dataset: Dataset, first_line_number: int, lines: pa.StringArray) -> ParsedBlock:
    """Cut lines into fields; those that do not match become rejects."""
    line_numbers = pa.array(np.arange(first_line_number, first_line_number + len(lines)))
    fields = pc.extract_regex(lines, line_pattern(dataset.line))
    is_parsed = fields.is_valid()
    is_reject = pc.invert(is_parsed)
    parsed = fields.filter(is_parsed)
    contents = pc.utf8_trim_whitespace(parsed.field(CONTENT))
    return ParsedBlock(
        line_numbers=line_numbers.filter(is_parsed),
        times=_times(dataset.line, parsed),
        contents=contents,
        alerts=_alerts(dataset, parsed),
        session_ids=_session_ids(dataset.line.session_pattern, contents),
        reject_numbers=line_numbers.filter(is_reject),
        reject_lines=lines.filter(is_reject),
    )


def _times(line: LineFormat, parsed: pa.StructArray) -> pa.TimestampArray:
    """Times in UTC; null where a time cannot be read."""
    if line.time_format is None:
        return pa.nulls(len(parsed), pa.timestamp("us"))
    text = pc.binary_join_element_wise(*(parsed.field(name) for name in line.time_fields), " ")
    if line.time_format == "epoch":
        is_number = pc.match_substring_regex(text, _MAX_EPOCH)
        seconds = pc.if_else(is_number, text, None).cast(pa.int64())
        return seconds.cast(pa.timestamp("s")).cast(pa.timestamp("us"))
    times = pc.strptime(text, format=line.time_format, unit="s", error_is_null=True)
    return times.cast(pa.timestamp("us"))


def _alerts(dataset: Dataset, parsed: pa.StructArray) -> pa.StringArray:
    if not isinstance(dataset.labels, FieldLabels):
        return pa.nulls(len(parsed), pa.string())
    tags = parsed.field(dataset.labels.field)
    return pc.if_else(pc.equal(tags, dataset.labels.normal), None, tags)


def _session_ids(pattern: str | None, contents: pa.StringArray) -> pa.ListArray:
    """Each line's distinct session ids, in order; a line belongs to every one of them."""
    if pattern is None:
        empty = pa.array(np.zeros(len(contents) + 1, dtype=np.int32))
        return pa.ListArray.from_arrays(empty, pa.array([], pa.string()))
    # `struct_field` keeps the nulls of lines without a match, `.field` would not.
    first = pc.struct_field(pc.extract_regex(contents, f"(?P<id>{pattern})"), "id")
    counts = pc.count_substring_regex(contents, pattern).to_numpy()
    several = np.flatnonzero(counts > 1)
    if not len(several):
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), first.drop_null())
    found = [[] if session is None else [session] for session in first.to_pylist()]
    compiled = re.compile(pattern, re.ASCII)  # as RE2 reads it
    for place in several:
        found[place] = list(
            dict.fromkeys(match[0] for match in compiled.finditer(contents[place].as_py()))
        )
    return pa.array(found, pa.list_(pa.string()))
