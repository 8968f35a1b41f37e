"""The data card: where the log came from, what was read, kept and dropped, and how it was split."""

from typing import Any

from logllm_core.logs.windows import Windows
from logllm_core.store import Artifact, Json


def data_card(
    raw: Artifact, messages: Artifact, windows: Artifact, train: Windows, test: Windows
) -> dict[str, Json]:
    """Counts of the log, its windows, and how much of the test split repeats the training split."""
    source: dict[str, Any] = raw.results
    assert train.is_anomalous is not None
    assert test.is_anomalous is not None
    seen: dict[tuple[int, ...], set[bool]] = {}
    for ids, label in zip(train.message_ids, train.is_anomalous.tolist(), strict=True):
        seen.setdefault(ids, set()).add(label)
    known = {message for ids in train.message_ids for message in ids}
    has_own_label = [
        label in seen[ids]
        for ids, label in zip(test.message_ids, test.is_anomalous.tolist(), strict=True)
        if ids in seen
    ]
    return {
        "source": source,
        "log": messages.results,
        "splits": windows.results["splits"],
        "requested": windows.results["requested"],
        "obtained": windows.results["obtained"],
        "num_lines_with_guessed_time": windows.results.get("num_lines_with_guessed_time", 0),
        "num_labels_without_lines": windows.results.get("num_labels_without_lines", 0),
        "num_test_windows_seen_in_training": len(has_own_label),
        "num_test_windows_seen_with_other_label_only": has_own_label.count(False),
        "num_test_messages_unseen_in_training": len(
            {message for ids in test.message_ids for message in ids} - known
        ),
    }
