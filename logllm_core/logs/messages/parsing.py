"""From lines to fields: their labels, times, session ids and content."""

from dataclasses import dataclass
from functools import cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from logllm_core.logs.catalog.catalog import Dataset, FieldLabels, PatternLabels
from logllm_core.logs.catalog.line_format import CONTENT, first_match, whole
from logllm_core.logs.messages import times
from logllm_core.logs.records.line_blocks import Block, as_logged

VERSION = 4  # raise when a line would be parsed or counted differently
# What Python calls white space, among the characters of latin-1: 1, anything else: 0.
_IS_SPACE = bytes(chr(code).isspace() for code in range(256))


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedBlock:
    """A block's lines: those that match the format apart from the others."""

    line_numbers: pa.Int64Array
    times: pa.TimestampArray
    contents: pa.StringArray
    alerts: pa.StringArray
    session_ids: pa.ListArray
    reject_numbers: pa.Int64Array
    reject_lines: pa.StringArray
    num_beyond_ascii: int  # lines that hold a byte of 0x80 or more
    num_with_controls: int  # lines that hold a control character other than a tab
    num_returned: int  # lines that a lone CR ended
    num_cut: int  # lines that were too long, without their rest


def parse_block(dataset: Dataset, block: Block) -> ParsedBlock:
    """Cut lines into fields; those that do not match become rejects."""
    line = dataset.line
    cut = _cut_by_white_space if line.pattern is None else _cut_by_pattern
    fields, is_parsed = cut(dataset, block)
    line_numbers = np.arange(len(block)) + block.first_line_number
    contents = fields[CONTENT]
    return ParsedBlock(
        line_numbers=pa.array(line_numbers[is_parsed]),
        times=times.read_times([fields[name] for name in line.time_fields], line.time_format)
        if line.time_format
        else pa.nulls(len(contents), pa.timestamp("us")),
        contents=contents,
        alerts=_alerts(dataset, fields),
        session_ids=_session_ids(dataset, fields),
        reject_numbers=pa.array(line_numbers[~is_parsed]),
        reject_lines=block.lines(~is_parsed),
        num_beyond_ascii=block.num_lines_beyond_ascii,
        num_with_controls=block.num_lines_with_controls,
        num_returned=len(block.returned),
        num_cut=len(block.cut),
    )


Fields = dict[str, pa.StringArray]


def _wanted_fields(dataset: Dataset) -> list[str]:
    """The fields that anything is read from."""
    named = [*dataset.line.time_fields, dataset.line.session_field]
    if isinstance(dataset.labels, FieldLabels | PatternLabels):
        named.append(dataset.labels.field)
    return [name for name in dataset.line.names if name == CONTENT or name in named]


def _cut_by_white_space(dataset: Dataset, block: Block) -> tuple[Fields, NDArray[np.bool_]]:
    """Fields of the lines that have enough words, and which lines these are."""
    is_space = np.frombuffer(block.text.translate(_IS_SPACE), dtype=bool)
    # A word begins after white space (or at the very start) and stops before white space.
    is_edge = np.empty(len(is_space), dtype=bool)
    is_edge[0] = not is_space[0]
    np.not_equal(is_space[1:], is_space[:-1], out=is_edge[1:])
    edges = np.flatnonzero(is_edge)  # the block ends with LF, so begins and stops take turns
    starts, stops = edges[::2], edges[1::2]
    first_words = np.searchsorted(starts, block.line_starts)
    after_words = np.append(first_words[1:], len(starts))
    names = dataset.line.fields
    is_parsed = after_words - first_words >= len(names)
    first_words, after_words = first_words[is_parsed], after_words[is_parsed]
    fields = {}
    for name in _wanted_fields(dataset):
        words = first_words + names.index(name)
        last_words = after_words - 1 if name == CONTENT else words
        fields[name] = block.texts(starts[words], stops[last_words])
    return fields, is_parsed


def _cut_by_pattern(dataset: Dataset, block: Block) -> tuple[Fields, NDArray[np.bool_]]:
    """Fields of the lines that the pattern matches as a whole, and which lines these are."""
    assert dataset.line.pattern is not None
    matches = pc.extract_regex(block.lines(), whole(dataset.line.pattern))
    is_parsed = matches.is_valid()
    matches = matches.filter(is_parsed)
    fields = {name: matches.field(name) for name in _wanted_fields(dataset)}
    fields[CONTENT] = pc.utf8_trim_whitespace(fields[CONTENT])
    return fields, is_parsed.to_numpy(zero_copy_only=False)


def _alerts(dataset: Dataset, fields: Fields) -> pa.StringArray:
    labels = dataset.labels
    if isinstance(labels, FieldLabels):
        tags = fields[labels.field]
        # A log may hold it in latin-1 or in UTF-8.
        normal = pa.array([labels.normal, as_logged(labels.normal)])
        return pc.if_else(pc.is_in(tags, normal), None, tags)
    if isinstance(labels, PatternLabels):
        return _first_match(fields[labels.field], labels.pattern)
    return pa.nulls(len(fields[CONTENT]), pa.string())


def _first_match(texts: pa.StringArray, pattern: str) -> pa.StringArray:
    # `struct_field` keeps the nulls of texts without a match, `.field` would not.
    match = pc.struct_field(pc.extract_regex(texts, first_match(pattern)), "match")
    return pc.if_else(pc.equal(match, ""), None, match)  # of a boundary, say: it names nothing


def _session_ids(dataset: Dataset, fields: Fields) -> pa.ListArray:
    """Each line's distinct session ids, in order; a line belongs to every one of them."""
    contents, line = fields[CONTENT], dataset.line
    if line.session_pattern is not None:
        first = _first_match(contents, line.session_pattern)
    elif line.session_field is not None:
        named = fields[line.session_field]
        first = pc.if_else(pc.equal(named, ""), None, named)
    else:
        first = pa.nulls(len(contents), pa.string())
    offsets = np.concatenate([[0], np.cumsum(first.is_valid().to_numpy(zero_copy_only=False))])
    ids = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), first.drop_null())
    if line.session_pattern is None:
        return ids
    counts = pc.count_substring_regex(contents, line.session_pattern).to_numpy()
    several = np.flatnonzero(counts > 1)
    if not len(several):
        return ids
    rows = np.arange(len(contents))
    rows[several] = len(contents) + np.arange(len(several))
    more = _all_session_ids(contents.take(pa.array(several)), line.session_pattern)
    return pa.concat_arrays([ids, more]).take(pa.array(rows))


def _all_session_ids(contents: pa.StringArray, pattern: str) -> pa.ListArray:
    """Every distinct match as RE2 finds it, in linear time whatever the pattern."""
    with _duckdb().cursor() as connection:  # one a thread
        connection.register("lines", pa.table({"content": contents}))
        matches = connection.sql(
            "select list_filter(regexp_extract_all(content, $pattern), lambda id: id <> '') as ids"
            " from lines",
            params={"pattern": pattern},
        ).to_arrow_table()["ids"]
    return _distinct(matches.combine_chunks())


def _distinct(lists: pa.ListArray) -> pa.ListArray:
    """Each list without what came in it before."""
    values = lists.flatten().dictionary_encode()
    owners = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy())
    _, firsts = np.unique(
        owners * len(values.dictionary) + values.indices.to_numpy(), return_index=True
    )
    firsts.sort()
    ends = np.cumsum(np.bincount(owners[firsts], minlength=len(lists)))
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    kept = values.dictionary.take(values.indices.take(pa.array(firsts)))
    return pa.ListArray.from_arrays(offsets, kept.cast(pa.string()))


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    """One for all blocks: a connection takes longer to make than a block to parse."""
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    return connection
