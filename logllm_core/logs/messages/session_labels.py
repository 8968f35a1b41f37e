"""The CSV file that labels each session."""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, SessionLabels
from logllm_core.logs.records.line_blocks import as_logged
from logllm_core.logs.sources.raw_log import label_file, open_file
from logllm_core.store.store import Artifact

VERSION = 2  # raise when a label file would be read differently


def read_session_labels(dataset: Dataset, labels: SessionLabels, raw: Artifact) -> pa.Table:
    """Each labelled session once, as in tables.SESSION_LABELS.

    Raises:
        LogLLMError: there is no label file, it is not such a CSV file, or contradicts itself.
    """
    file = label_file(raw)
    if file is None:
        raise LogLLMError(
            f"{dataset.name} is labelled by session, but no label file is named. Give "
            "source.label_path (or label_member of an archive) in its TOML file."
        )
    truth = {labels.normal: False, labels.anomalous: True}
    is_anomalous: dict[str, bool] = {}
    try:
        with open_file(raw, file) as stream:
            for session, label in _label_rows(dataset, labels, stream):
                if label not in truth:
                    raise LogLLMError(
                        f"{dataset.name}: the label file calls {session} {label!r}. Wanted: "
                        f"{' or '.join(truth)}."
                    )
                if is_anomalous.setdefault(as_logged(session), truth[label]) != truth[label]:
                    raise LogLLMError(f"{dataset.name}: the label file labels {session} both ways.")
    except csv.Error as fault:
        raise LogLLMError(
            f"{dataset.name}: the label file is not a CSV file in UTF-8: {fault}."
        ) from None
    return pa.table({"session_id": list(is_anomalous), "is_anomalous": list(is_anomalous.values())})


def _label_rows(
    dataset: Dataset, labels: SessionLabels, stream: BinaryIO
) -> Iterator[tuple[str, str]]:
    """Session and label of each row."""
    # Sessions are bytes, as those of the log are.
    with io.TextIOWrapper(
        stream, encoding="utf-8-sig", errors="surrogateescape", newline=""
    ) as text:
        rows = csv.DictReader(text, strict=True)
        columns = rows.fieldnames or []
        for column in (labels.session_column, labels.label_column):
            if column not in columns:
                raise LogLLMError(
                    f"{dataset.name}: the label file has the columns {', '.join(columns)}, but no "
                    f"{column}. Mend labels.session_column and labels.label_column."
                )
            if columns.count(column) > 1:
                raise LogLLMError(
                    f"{dataset.name}: the label file has {columns.count(column)} columns of the "
                    f"name {column}. Rename all but the one that is meant."
                )
        for row in rows:
            session, label = row[labels.session_column], row[labels.label_column]
            if session is None or label is None:
                raise LogLLMError(
                    f"{dataset.name}: line {rows.line_num:,} of the label file is cut short. Copy "
                    "the file again, or mend that line."
                )
            yield session, label
