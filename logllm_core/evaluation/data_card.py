"""The data card: where the log came from, what was read, kept and dropped, and how it was split."""

from collections import Counter

import numpy as np

from logllm_core import tables
from logllm_core.evaluation.measures.metrics import Labels, best_f1
from logllm_core.logs.catalog.catalog import Dataset, FieldLabels
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.results.data_card import DataCard, Repeats, SplitCounts
from logllm_core.store.store import Artifact

NO_LABEL = "no label"
NUM_SHOWN_LABELS = 20  # of dropped lines; the others are counted together
OTHER_LABELS = "other labels"
NUM_SHOWN_CHARACTERS = 80  # of such a label


def data_card(
    dataset: Dataset,
    *,
    raw: Artifact,
    messages: Artifact,
    windows: Artifact,
    train: Windows,
    test: Windows,
) -> DataCard:
    """Counts of the log, its windows, and how much of the test split repeats the training split."""
    assert train.is_anomalous is not None
    assert test.is_anomalous is not None
    counts = windows.results
    known = {message for ids in train.message_ids for message in ids}
    return DataCard(
        source=raw.results,
        log=messages.results,
        labels_of_dropped=labels_of_dropped(dataset, messages),
        splits={split: SplitCounts(**of_split) for split, of_split in counts["splits"].items()},
        requested=counts["requested"],
        obtained=counts["obtained"],
        num_lines_with_guessed_time=counts.get("num_lines_with_guessed_time", 0),
        num_labels_without_lines=counts.get("num_labels_without_lines", 0),
        num_anomalous_runs=num_runs(test.is_anomalous),
        repeats=repeats(train, test, train.is_anomalous, test.is_anomalous),
        f1_ceiling=f1_ceiling(test, test.is_anomalous),
        num_test_messages_unseen_in_training=len(
            {message for ids in test.message_ids for message in ids} - known
        ),
    )


def labels_of_dropped(dataset: Dataset, messages: Artifact) -> dict[str, int] | None:
    """How many dropped lines carry each label, most frequent first.

    A line that does not match its format may still begin with its label, as those of BGL without
    content do. None where a line's label cannot be told without its format.
    """
    labels, fields = dataset.labels, dataset.line.fields
    if not isinstance(labels, FieldLabels) or dataset.line.pattern is not None:
        return None
    before = fields.index(labels.field)  # so many fields
    counts: Counter[str] = Counter()
    for batch in tables.opened(messages.path / "rejects.parquet").iter_batches(columns=["line"]):
        for line in batch["line"].to_pylist():
            words = line.split(maxsplit=before + 1)
            counts[words[before][:NUM_SHOWN_CHARACTERS] if len(words) > before else NO_LABEL] += 1
    shown = dict(counts.most_common(NUM_SHOWN_LABELS))
    if num_others := counts.total() - sum(shown.values()):
        shown[OTHER_LABELS] = shown.get(OTHER_LABELS, 0) + num_others
    return shown


def repeats(train: Windows, test: Windows, train_labels: Labels, test_labels: Labels) -> Repeats:
    """Test windows that repeat a training window message for message."""
    seen: dict[tuple[int, ...], set[bool]] = {}
    for ids, label in zip(train.message_ids, train_labels.tolist(), strict=True):
        seen.setdefault(ids, set()).add(label)
    repeating = [
        (seen[ids], label)
        for ids, label in zip(test.message_ids, test_labels.tolist(), strict=True)
        if ids in seen
    ]
    return Repeats(
        same_label=sum(labels == {label} for labels, label in repeating),
        other_label=sum(label not in labels for labels, label in repeating),
        both_labels=sum(len(labels) == 2 for labels, _ in repeating),
    )


def num_runs(is_anomalous: Labels) -> int:
    """Stretches of consecutive anomalous windows: how many independent chances there are to err."""
    return int(is_anomalous[:1].sum() + (is_anomalous[1:] & ~is_anomalous[:-1]).sum())


def f1_ceiling(test: Windows, is_anomalous: Labels) -> float | None:
    """The best F1 on the test split of whatever judges a window by its sequence of messages alone.

    Windows of one sequence get one verdict, whatever their labels; the sequences with the greatest
    share of anomalous windows are flagged first.
    """
    group_of = {ids: number for number, ids in enumerate(dict.fromkeys(test.message_ids))}
    groups = np.array([group_of[ids] for ids in test.message_ids], dtype=np.int64)
    counts = np.bincount(groups)
    shares = np.bincount(groups, weights=is_anomalous) / counts
    return best_f1(is_anomalous, shares[groups])
