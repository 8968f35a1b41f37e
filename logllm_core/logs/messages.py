"""The messages artifact: every kept line as a row, every distinct masked message once."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from loguru import logger

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs import masking, parsing
from logllm_core.logs.catalog import Archive, Dataset, SessionLabels
from logllm_core.logs.download import open_labels, open_log
from logllm_core.progress import track
from logllm_core.store import Artifact, Json, Store

VERSION = 1


def build_messages(store: Store, dataset: Dataset, raw: Artifact) -> Artifact:
    """Parse and mask the raw log into Parquet.

    Files: `messages.parquet`, `vocabulary.parquet`, `rejects.parquet`, and `session_labels.parquet`
    where sessions are labelled.

    Raises:
        LogLLMError: too many lines do not match the format, or none does.
    """
    config = {
        "line": dataset.line.model_dump(mode="json"),
        "labels": dataset.labels and dataset.labels.model_dump(mode="json"),
        "line_slice": dataset.line_slice,
        "members": _members(dataset),
        "parsing": parsing.VERSION,
        "masking": masking.VERSION,
    }
    return store.reuse_or_build(
        "messages",
        dataset.name,
        config=config,
        inputs={"raw": raw},
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, raw),
    )


def read_vocabulary(messages: Artifact) -> list[str]:
    """The distinct masked messages; the position is the message id."""
    table = tables.read(messages.path / "vocabulary.parquet", tables.VOCABULARY)
    texts: list[str] = table["text"].to_pylist()
    return texts


def _members(dataset: Dataset) -> list[str | None]:
    """Which files of the source are read."""
    source = dataset.source
    return [source.log_member, source.label_member] if isinstance(source, Archive) else []


def _build(out_dir: Path, dataset: Dataset, raw: Artifact) -> dict[str, Json]:
    vocabulary = Vocabulary()
    rejects: list[pa.Table] = []
    num_lines = num_rejects = num_alerts = num_odd = num_without_time = 0
    messages_path = out_dir / "messages.parquet"
    with (
        open_log(dataset, raw) as stream,
        pq.ParquetWriter(messages_path, tables.MESSAGES, compression="zstd") as writer,
        track(f"Parsing and masking {dataset.name}", unit="lines") as advance,
    ):
        for first, lines in parsing.read_lines(stream, dataset.line_slice):
            block = parsing.parse_lines(dataset, first, lines)
            masked = masking.mask_messages(block.contents)
            columns = [
                block.line_numbers,
                block.times,
                block.contents,
                vocabulary.add(masked, block.line_numbers),
                block.alerts,
                block.session_ids,
            ]
            writer.write_table(pa.table(columns, schema=tables.MESSAGES))
            if len(block.reject_lines):
                parts = [block.reject_numbers, block.reject_lines]
                rejects.append(pa.table(parts, schema=tables.REJECTS))
            num_lines += len(lines)
            num_rejects += len(block.reject_lines)
            num_alerts += len(block.alerts) - block.alerts.null_count
            num_odd += pc.sum(pc.invert(pc.string_is_ascii(lines))).as_py() or 0
            num_without_time += block.times.null_count
            advance(len(lines))
    rejected = pa.concat_tables([tables.REJECTS.empty_table(), *rejects])
    _check_rejects(dataset, num_lines, rejected)
    tables.write(out_dir / "rejects.parquet", rejected, tables.REJECTS)
    tables.write(out_dir / "vocabulary.parquet", vocabulary.table(), tables.VOCABULARY)
    results = {
        "num_lines": num_lines,
        "num_kept_lines": num_lines - num_rejects,
        "num_unparsed_lines": num_rejects,
        "num_alert_lines": num_alerts,
        "num_distinct_messages": len(vocabulary),
        "num_lines_beyond_ascii": num_odd,
        "num_lines_without_time": num_without_time if dataset.line.time_format else None,
    }
    if isinstance(dataset.labels, SessionLabels):
        labels = _read_session_labels(dataset, dataset.labels, raw)
        tables.write(out_dir / "session_labels.parquet", labels, tables.SESSION_LABELS)
        results["num_labelled_sessions"] = len(labels)
    logger.info(
        "{}: {:,} lines, {:,} unparsed, {:,} distinct messages",
        *(dataset.name, num_lines, num_rejects, len(vocabulary)),
    )
    return results


class Vocabulary:
    """Distinct masked messages with their ids, in order of first appearance."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._num_lines: list[int] = []
        self._first_line_numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, masked: pa.StringArray, line_numbers: pa.Int64Array) -> pa.Int32Array:
        """The ids of a block's messages; new ones enter the vocabulary."""
        encoded = masked.dictionary_encode()  # in order of first appearance
        places = encoded.indices.to_numpy()
        num_lines = np.bincount(places, minlength=len(encoded.dictionary))
        firsts = np.full(len(encoded.dictionary), len(places), dtype=np.int64)
        np.minimum.at(firsts, places, np.arange(len(places)))
        numbers = line_numbers.to_numpy()
        ids = np.empty(len(encoded.dictionary), dtype=np.int32)
        for place, text in enumerate(encoded.dictionary.to_pylist()):
            ids[place] = message_id = self._ids.setdefault(text, len(self._ids))
            if message_id == len(self._num_lines):
                self._num_lines.append(0)
                self._first_line_numbers.append(int(numbers[firsts[place]]))
            self._num_lines[message_id] += int(num_lines[place])
        return pa.array(ids[places])

    def table(self) -> pa.Table:
        return pa.table(
            {
                "message_id": np.arange(len(self._ids), dtype=np.int32),
                "text": list(self._ids),
                "num_lines": self._num_lines,
                "first_line_number": self._first_line_numbers,
            }
        )


def _check_rejects(dataset: Dataset, num_lines: int, rejects: pa.Table) -> None:
    limit = dataset.line.max_unparsed_fraction
    wanted = " ".join(dataset.line.fields)
    if num_lines == 0 and dataset.line_slice:
        raise LogLLMError(
            f"{dataset.name}: the log ends before line {dataset.line_slice[0]:,}, where its "
            "line_slice begins. Use the whole log, or set line_slice in the data set's file."
        )
    if num_lines == 0:
        raise LogLLMError(f"{dataset.name}: the log is empty. Wanted lines like: {wanted}.")
    if len(rejects) == num_lines or len(rejects) > limit * num_lines:
        number, line = rejects["line_number"][0].as_py(), rejects["line"][0].as_py()
        raise LogLLMError(
            f"{dataset.name}: {len(rejects):,} of {num_lines:,} lines do not match the line format "
            f"(limit {limit:.2%}), first at line {number:,}: {line!r:.120}. Wanted fields: "
            f"{wanted}. Mend line.fields, or raise line.max_unparsed_fraction."
        )


def _read_session_labels(dataset: Dataset, labels: SessionLabels, raw: Artifact) -> pa.Table:
    truth = {labels.normal: False, labels.anomalous: True}
    found: dict[str, bool] = {}
    try:
        with open_labels(dataset, raw) as stream:
            for session, label in _label_rows(dataset, labels, stream):
                if label not in truth:
                    raise LogLLMError(
                        f"{dataset.name}: the label file calls {session} {label!r}. Wanted: "
                        f"{' or '.join(truth)}."
                    )
                if found.setdefault(session, truth[label]) != truth[label]:
                    raise LogLLMError(f"{dataset.name}: the label file labels {session} both ways.")
    except (UnicodeDecodeError, csv.Error) as fault:
        raise LogLLMError(
            f"{dataset.name}: the label file is not a CSV file in UTF-8: {fault}."
        ) from None
    return pa.table({"session_id": list(found), "is_anomalous": list(found.values())})


def _label_rows(
    dataset: Dataset, labels: SessionLabels, stream: BinaryIO
) -> Iterator[tuple[str, str]]:
    """Session and label of each row."""
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        rows = csv.DictReader(text, strict=True)
        columns = rows.fieldnames or []
        for column in (labels.session_column, labels.label_column):
            if column not in columns:
                raise LogLLMError(
                    f"{dataset.name}: the label file has the columns {', '.join(columns)}, but no "
                    f"{column}. Mend labels.session_column and labels.label_column."
                )
        for row in rows:
            yield row[labels.session_column], row[labels.label_column]
