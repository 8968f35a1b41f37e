"""The parts of a log's files as one log: line numbers and message ids that run on."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.logs.messages.drain_templates import Templates
from logllm_core.logs.messages.file_messages import FILE_LINES
from logllm_core.logs.messages.vocabulary import MessageIds, Vocabulary
from logllm_core.progress import track
from logllm_core.store.shared_files import link
from logllm_core.store.store import Artifact
from logllm_core.store.table_files import RowGroups, TableFiles

Renumbering = Callable[[pa.Table], MessageIds]


def join_parts(
    out_dir: Path,
    parts: Sequence[Artifact],
    firsts: NDArray[np.int64],
    *,
    templates: Templates | None,
) -> Vocabulary:
    """Write the kept lines and the rejects of all parts.

    Args:
        firsts: the number of each part's first line in the log.
        templates: give the ids of messages where they are given, as they learn from every line.

    Returns:
        the messages of all parts; without any where templates stand for them.
    """
    vocabulary = Vocabulary()
    (out_dir / "messages").mkdir()
    with (
        RowGroups(out_dir / "rejects.parquet", tables.REJECTS) as rejects,
        track("Putting files together", total=len(parts), unit="files") as advance,
    ):
        for number, (part, first) in enumerate(zip(parts, firsts.tolist(), strict=True)):
            stem = f"part-{number:08d}"
            if templates is not None:
                _rewrite(part, out_dir, stem, first, partial(_templates_of, templates))
            else:
                ids = _merge_vocabulary(vocabulary, part, first)
                if first == 0 and np.array_equal(ids, np.arange(len(ids))):
                    for table in _tables(part):
                        name = table.name.replace("part", stem, 1)
                        link(table, out_dir / "messages" / name)
                else:
                    _rewrite(part, out_dir, stem, first, partial(_renumbered, ids))
            for lines in row_groups([part.path / "rejects.parquet"], first):
                rejects.write(lines)
            advance(1)
    return vocabulary


def _merge_vocabulary(vocabulary: Vocabulary, part: Artifact, first: int) -> MessageIds:
    """The log's ids of a part's messages."""
    table = tables.read(part.path / "vocabulary.parquet", tables.VOCABULARY)
    first_line_numbers = (table["first_line_number"].to_numpy() + first).tolist()
    num_lines = table["num_lines"].to_pylist()
    return vocabulary.add(table["text"].to_pylist(), num_lines, first_line_numbers)


def _templates_of(templates: Templates, lines: pa.Table) -> MessageIds:
    contents = lines["content"].combine_chunks()
    return templates.add_lines(contents, lines["line_number"].to_numpy())


def _renumbered(ids: MessageIds, lines: pa.Table) -> MessageIds:
    renumbered: MessageIds = ids[lines["message_id"].to_numpy()]
    return renumbered


def _rewrite(part: Artifact, out_dir: Path, stem: str, first: int, renumber: Renumbering) -> None:
    """A part's lines with the log's line numbers and message ids."""
    column = tables.MESSAGES.get_field_index("message_id")
    with TableFiles(
        out_dir / "messages", tables.MESSAGES, num_first=FILE_LINES, stem=stem
    ) as messages:
        for lines in row_groups(_tables(part), first):
            ids = pa.array(renumber(lines), pa.int32())
            messages.write(lines.set_column(column, "message_id", ids).cast(tables.MESSAGES))


def _tables(part: Artifact) -> list[Path]:
    return sorted((part.path / "messages").glob("*.parquet"))


def row_groups(paths: Sequence[Path], first: int) -> Iterator[pa.Table]:
    """The rows of a part, a row group at a time, line numbers counted from the log's first line."""
    for path in paths:
        with tables.opened(path) as content:
            for group in range(content.num_row_groups):
                rows = content.read_row_group(group)
                numbers = pa.array(rows["line_number"].to_numpy() + first)
                field = rows.schema.field("line_number")
                yield rows.set_column(rows.schema.get_field_index("line_number"), field, numbers)
