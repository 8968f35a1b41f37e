"""The messages of one raw file: parsed and masked, with ids of the file's own.

Files are independent of each other, so a log of many is read side by side, on one machine or many,
and a file that was read before is not read again when another one joins it.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages import masking, parsing
from logllm_core.logs.messages.vocabulary import Vocabulary
from logllm_core.logs.records import line_blocks
from logllm_core.logs.sources.raw_log import RawFile, open_file
from logllm_core.progress import track
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.store.table_files import RowGroups, TableFiles

VERSION = 2
NUM_THREADS = min(os.cpu_count() or 1, 8)  # that parse and mask; each holds a block
NUM_LINES_FOR_A_FORMAT = 1_000  # enough to see that a line format is another log's
NUM_LINES_TO_SEE_REPEATS = 1_000
FILE_LINES = 1 << 15  # in the first tables; most files of a log of many never grow

Reject = tuple[int, str]  # a line's number and text

In = TypeVar("In")
Out = TypeVar("Out")


def build_part(
    store: Store, dataset: Dataset, raw: Artifact, file: RawFile, *, is_masked: bool
) -> Artifact:
    """One raw file as `messages/*.parquet`, `vocabulary.parquet` and `rejects.parquet`.

    Line numbers and message ids begin at 0 in each file; `build_messages` puts files together.

    Args:
        is_masked: whether the vocabulary holds masked messages, or messages as logged.

    Raises:
        LogLLMError: the file cannot be read, or is in another format from its beginning.
    """
    return store.reuse_or_build(
        "parts",
        dataset.name,
        config={
            # The limit is checked when parts are put together; a higher one reads nothing again.
            "line": dataset.line.model_dump(mode="json", exclude={"max_unparsed_fraction"}),
            "labels": dataset.labels and dataset.labels.model_dump(mode="json"),
            "line_slice": dataset.line_slice,
            "file": {"checksum": file.checksum, "member": file.member},
            "masking": masking.VERSION if is_masked else None,
            "parsing": parsing.VERSION,
        },
        inputs={},  # the file's content alone: the same file in another log is the same part
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, raw, file, is_masked),
    )


def build_parts(
    store: Store, dataset: Dataset, raw: Artifact, files: Sequence[RawFile], *, is_masked: bool
) -> list[Artifact]:
    """The parts of some files of a raw log, in their order."""
    return [build_part(store, dataset, raw, file, is_masked=is_masked) for file in files]


def _build(
    out_dir: Path, dataset: Dataset, raw: Artifact, file: RawFile, is_masked: bool
) -> dict[str, Json]:
    vocabulary = Vocabulary()
    counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)

    def parse(block: line_blocks.Block) -> tuple[parsing.ParsedBlock, pa.DictionaryArray]:
        parsed = parsing.parse_block(dataset, block)
        return parsed, texts_of(parsed.contents, is_masked=is_masked)

    with (
        open_file(raw, file) as stream,
        TableFiles(out_dir / "messages", tables.MESSAGES, num_first=FILE_LINES) as messages,
        RowGroups(out_dir / "rejects.parquet", tables.REJECTS) as rejects,
        track(f"Parsing and masking {dataset.name}", unit="lines") as advance,
    ):
        longest = dataset.line.max_line_bytes
        blocks = line_blocks.read_blocks(
            stream, dataset.line_slice, max_line_bytes=longest, skipped=advance
        )
        for parsed, texts in _in_order(parse, blocks):
            if counts["num_lines"] == 0:
                check_format(
                    dataset,
                    file.member or file.location,
                    num_kept=len(parsed.line_numbers),
                    num_rejects=len(parsed.reject_numbers),
                    first_reject=first_reject(parsed),
                )
            ids = vocabulary.add_lines(
                texts.dictionary, texts.indices.to_numpy(), parsed.line_numbers.to_numpy()
            )
            messages.write(_messages_table(parsed, ids))
            if len(parsed.reject_lines):
                rejects.write(_rejects_table(parsed))
            for name, count in _COUNTS.items():
                counts[name] += count(parsed)
            advance(len(parsed.line_numbers) + len(parsed.reject_numbers))
    tables.write(out_dir / "vocabulary.parquet", vocabulary.table(), tables.VOCABULARY)
    return {**counts, "num_distinct_messages": len(vocabulary)}


def texts_of(contents: pa.StringArray, *, is_masked: bool) -> pa.DictionaryArray:
    """Each line's text; where messages repeat themselves, each is masked once."""
    if not is_masked:
        return contents.dictionary_encode()
    first_ones = contents[:NUM_LINES_TO_SEE_REPEATS]
    if len(first_ones.unique()) > 0.8 * len(first_ones):
        return masking.mask_messages(contents).dictionary_encode()
    encoded = contents.dictionary_encode()
    texts = masking.mask_messages(encoded.dictionary)
    return pa.DictionaryArray.from_arrays(encoded.indices, texts)


# What the manifest of a part says of its lines.
_COUNTS: dict[str, Callable[[parsing.ParsedBlock], int]] = {
    "num_lines": lambda parsed: len(parsed.line_numbers) + len(parsed.reject_numbers),
    "num_kept_lines": lambda parsed: len(parsed.line_numbers),
    "num_unparsed_lines": lambda parsed: len(parsed.reject_numbers),
    "num_alert_lines": lambda parsed: len(parsed.alerts) - parsed.alerts.null_count,
    "num_lines_beyond_ascii": lambda parsed: parsed.num_beyond_ascii,
    "num_lines_with_controls": lambda parsed: parsed.num_with_controls,
    "num_lines_ended_by_lone_cr": lambda parsed: parsed.num_returned,
    "num_lines_cut": lambda parsed: parsed.num_cut,
    "num_lines_without_time": lambda parsed: parsed.times.null_count,
    "num_lines_without_session": lambda parsed: int(
        pc.sum(pc.equal(pc.list_value_length(parsed.session_ids), 0)).as_py() or 0
    ),
}


def _messages_table(parsed: parsing.ParsedBlock, ids: np.ndarray) -> pa.Table:
    columns = [parsed.line_numbers, parsed.times, parsed.contents, pa.array(ids)]
    return pa.table([*columns, parsed.alerts, parsed.session_ids], schema=tables.MESSAGES)


def _rejects_table(parsed: parsing.ParsedBlock) -> pa.Table:
    return pa.table([parsed.reject_numbers, parsed.reject_lines], schema=tables.REJECTS)


def _in_order(work: Callable[[In], Out], things: Iterator[In]) -> Iterator[Out]:
    """Results of `work` on threads, in order, no more than a few ahead of the reader.

    Arrow and NumPy release the interpreter, so the threads do work side by side.
    """
    with ThreadPoolExecutor(NUM_THREADS) as pool, _quick_turns():
        pending: deque[Future[Out]] = deque()
        for thing in things:
            pending.append(pool.submit(work, thing))
            if len(pending) > NUM_THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


_turns_lock = threading.Lock()
_num_taking_turns = 0
_usual_interval_seconds = sys.getswitchinterval()


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Threads hand the interpreter on after 0.2 ms instead of 5, about as long as their steps take.

    Without this, two threads were measured to be hardly faster than one. Files may be read side by
    side: the last one to end restores the interval.
    """
    global _num_taking_turns, _usual_interval_seconds
    with _turns_lock:
        if _num_taking_turns == 0:
            _usual_interval_seconds = sys.getswitchinterval()
            sys.setswitchinterval(0.0002)
        _num_taking_turns += 1
    try:
        yield
    finally:
        with _turns_lock:
            _num_taking_turns -= 1
            if _num_taking_turns == 0:
                sys.setswitchinterval(_usual_interval_seconds)


def check_format(
    dataset: Dataset, location: str, *, num_kept: int, num_rejects: int, first_reject: Reject | None
) -> None:
    """A format of another log is told at once, not after 30 GB."""
    is_allowed = dataset.line.max_unparsed_fraction == 1 or num_kept
    if is_allowed or num_rejects < NUM_LINES_FOR_A_FORMAT or first_reject is None:
        return
    raise LogLLMError(
        f"{dataset.name}: none of the first {num_rejects:,} lines of {location} matches the line "
        f"format. {describe_reject(dataset, location, *first_reject)}"
    )


def first_reject(parsed: parsing.ParsedBlock) -> Reject | None:
    """The number and the text of the first line that did not match the format."""
    if not len(parsed.reject_numbers):
        return None
    return parsed.reject_numbers[0].as_py(), parsed.reject_lines[0].as_py()


def describe_reject(dataset: Dataset, location: str, number: int, line: str) -> str:
    """What was found, what was wanted and what to do."""
    rule = "line.fields" if dataset.line.pattern is None else "line.pattern"
    return (
        f"First at line {number:,} of {location}: {line!r:.120}. Wanted: "
        f"{dataset.line.wanted}. Mend {rule}, or raise line.max_unparsed_fraction."
    )
