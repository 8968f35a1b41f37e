"""The messages artifact: every kept line as a row, every distinct message once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from loguru import logger
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, SessionLabels
from logllm_core.logs.messages import Masking, masking, parsing
from logllm_core.logs.messages.drain_templates import Templates
from logllm_core.logs.messages.file_messages import describe_reject
from logllm_core.logs.messages.joined_parts import join_parts, row_groups
from logllm_core.logs.messages.session_labels import VERSION as VERSION_OF_LABELS
from logllm_core.logs.messages.session_labels import read_session_labels
from logllm_core.logs.sources.raw_log import RawFile, label_file, log_files
from logllm_core.store.database import as_it_stands
from logllm_core.store.store import Artifact, Json, Store

VERSION = 3


def is_masked_in_parts(preprocessing: Masking) -> bool:
    """Whether the parts hold masked messages; Drain reads messages as logged, beside them."""
    return preprocessing != "none"


def _is_by_drain(preprocessing: Masking) -> bool:
    return preprocessing.startswith("drain")


def find_messages(
    store: Store, dataset: Dataset, raw: Artifact, *, preprocessing: Masking
) -> Artifact | None:
    """The messages artifact, where it is built already."""
    return store.find(
        "messages",
        dataset.name,
        config=_config(dataset, raw, preprocessing),
        inputs={},  # the content of the files, not where they lie
        version=VERSION,
    )


def build_messages(
    store: Store,
    dataset: Dataset,
    raw: Artifact,
    parts: Sequence[Artifact],
    *,
    preprocessing: Masking,
) -> Artifact:
    """Put the parts of a log together: one vocabulary, line numbers that run on.

    Files: `messages/part-*.parquet` (those of each raw file, in order), `vocabulary.parquet`,
    `rejects.parquet`, `files.parquet`, and `session_labels.parquet` where sessions are labelled.

    Args:
        parts: of every raw file, in order.

    Raises:
        LogLLMError: too many lines do not match the format, or none does.
    """
    return store.reuse_or_build(
        "messages",
        dataset.name,
        config=_config(dataset, raw, preprocessing),
        inputs={},  # the content of the files, not where they lie
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, raw, parts, preprocessing),
    )


def message_files(messages: Artifact) -> list[str]:
    """The Parquet files of the kept lines, in log order, as DuckDB opens them."""
    return [as_it_stands(path) for path in sorted((messages.path / "messages").glob("*.parquet"))]


def read_vocabulary(messages: Artifact) -> list[str]:
    """The distinct messages; the position is the message id."""
    table = tables.read(messages.path / "vocabulary.parquet", tables.VOCABULARY)
    texts: list[str] = table["text"].to_pylist()
    return texts


def _config(dataset: Dataset, raw: Artifact, preprocessing: Masking) -> dict[str, Json]:
    labels = label_file(raw)
    by_session = isinstance(dataset.labels, SessionLabels)
    return {
        **({"session_labels": VERSION_OF_LABELS} if by_session else {}),
        "files": [(file.checksum, file.member) for file in log_files(raw)],
        "label_file": labels and (labels.checksum, labels.member),
        "line": dataset.line.model_dump(mode="json"),
        "labels": dataset.labels and dataset.labels.model_dump(mode="json"),
        "line_slice": dataset.line_slice,
        "preprocessing": preprocessing,
        "parsing": parsing.VERSION,
        "masking": masking.VERSION,
    }


def _build(
    out_dir: Path,
    dataset: Dataset,
    raw: Artifact,
    parts: Sequence[Artifact],
    preprocessing: Masking,
) -> dict[str, Json]:
    files = log_files(raw)
    totals = _totals(parts)
    _check(dataset, totals, parts, files)
    _warn(dataset, totals)
    firsts = np.cumsum([0, *(part.results["num_lines"] for part in parts)])[:-1]
    templates = Templates() if _is_by_drain(preprocessing) else None
    messages = join_parts(out_dir, parts, firsts, templates=templates)
    as_ids = preprocessing == "drain-id"
    vocabulary = templates.table(as_ids=as_ids) if templates is not None else messages.table()
    tables.write(out_dir / "vocabulary.parquet", vocabulary, tables.VOCABULARY)
    tables.write(out_dir / "files.parquet", _files_table(files, parts, firsts), tables.FILES)
    results: dict[str, Json] = {
        **totals,
        "num_files": len(files),
        "num_distinct_messages": len(vocabulary),
        "line_slice": dataset.line_slice,  # as asked for; num_lines is what was there
        "preprocessing": preprocessing,
        # Drain learns from every line it reads, those of the test split among them.
        "has_parser_seen_test_lines": _is_by_drain(preprocessing),
    }
    if dataset.line.time_format is None:
        results["num_lines_without_time"] = None
    if not dataset.line.has_sessions:
        results["num_lines_without_session"] = None
    if isinstance(dataset.labels, SessionLabels):
        labels = read_session_labels(dataset, dataset.labels, raw)
        tables.write(out_dir / "session_labels.parquet", labels, tables.SESSION_LABELS)
        results["num_labelled_sessions"] = len(labels)
    logger.info(
        "{}: {:,} lines, {:,} unparsed, {:,} distinct messages",
        *(dataset.name, totals["num_lines"], totals["num_unparsed_lines"], len(vocabulary)),
    )
    return results


def _totals(parts: Sequence[Artifact]) -> dict[str, int]:
    """What the parts count, added up."""
    names = dict.fromkeys(name for part in parts for name in part.results)
    # A part that was read before lines could be cut does not count them: none was.
    return {name: sum(part.results.get(name, 0) for part in parts) for name in names}


def _files_table(
    files: Sequence[RawFile], parts: Sequence[Artifact], firsts: NDArray[np.int64]
) -> pa.Table:
    return pa.table(
        {
            "file_number": range(len(files)),
            "location": [file.member or file.location for file in files],
            "first_line_number": firsts,
            "num_lines": [part.results["num_lines"] for part in parts],
        }
    )


def _warn(dataset: Dataset, totals: Mapping[str, int]) -> None:
    """Tell what is missing of the log's lines."""
    num_lines = totals["num_lines"]
    start, stop = dataset.line_slice or (0, num_lines)
    if num_lines < stop - start:
        logger.warning(
            "{}: the log ends within its slice: {:,} lines of {:,}",
            *(dataset.name, num_lines, stop - start),
        )
    if num_cut := totals.get("num_lines_cut"):
        logger.warning(
            "{}: {:,} lines are longer than {:,} bytes, line.max_line_bytes; their rest is cut",
            *(dataset.name, num_cut, dataset.line.max_line_bytes),
        )


def _check(
    dataset: Dataset,
    totals: Mapping[str, int],
    parts: Sequence[Artifact],
    files: Sequence[RawFile],
) -> None:
    """That there are lines, and that enough of them match the format."""
    if dataset.line_slice and len(files) > 1:
        raise LogLLMError(
            f"{dataset.name}: line_slice counts the lines of one file, but there are "
            f"{len(files):,}. Leave it out, or name one file."
        )
    num_lines, num_rejects = totals["num_lines"], totals["num_unparsed_lines"]
    if num_lines == 0 and dataset.line_slice:
        raise LogLLMError(
            f"{dataset.name}: the log ends before line {dataset.line_slice[0]:,}, where its "
            "line_slice begins. Use the whole log, or set line_slice in the data set's file."
        )
    if num_lines == 0:
        raise LogLLMError(
            f"{dataset.name}: the log is empty. Wanted lines like: {dataset.line.wanted}."
        )
    limit = dataset.line.max_unparsed_fraction
    if num_rejects == num_lines or num_rejects > limit * num_lines:
        part, file = next(
            (part, file)
            for part, file in zip(parts, files, strict=True)
            if part.results["num_unparsed_lines"]
        )
        reject = next(row_groups([part.path / "rejects.parquet"], 0))
        number, line = reject["line_number"][0].as_py(), reject["line"][0].as_py()
        raise LogLLMError(
            f"{dataset.name}: {num_rejects:,} of {num_lines:,} lines do not match the line format "
            f"(limit {limit:.2%}). "
            + describe_reject(dataset, file.member or file.location, number, line)
        )
