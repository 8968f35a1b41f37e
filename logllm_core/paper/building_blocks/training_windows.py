"""What of the training split a method may learn from, and as what it reads it."""

from collections.abc import Sequence

import numpy as np

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.paper.building_blocks.events import EventReading, learn_events
from logllm_core.paper.building_blocks.interface import Method, Training
from logllm_core.training.sampling import check_both_classes, check_labelled


def read_training(
    method: Method, dataset: str, train: Windows, texts: Sequence[str], *, has_sessions: bool
) -> tuple[EventReading, Training]:
    """How the method reads this data set, and all that it may learn from.

    Raises:
        LogLLMError: no labels, or a class that it needs is missing.
    """
    seen = training_windows(method, dataset, train)
    assert seen.is_anomalous is not None
    reading = learn_events(method.reads, seen.message_ids, texts)
    return reading, Training(
        windows=reading.read(seen.message_ids),
        is_anomalous=seen.is_anomalous,
        events=reading.events,
        has_sessions=has_sessions,
    )


def training_windows(method: Method, dataset: str, train: Windows) -> Windows:
    """The windows that the method may see.

    Raises:
        LogLLMError: no labels, or a class that it needs is missing.
    """
    if method.labels == "all windows":
        check_both_classes(dataset, train)
        return train
    check_labelled(dataset, is_labelled=train.is_anomalous is not None)
    assert train.is_anomalous is not None
    normal = np.flatnonzero(~train.is_anomalous)
    if not len(normal):
        raise LogLLMError(
            f"{dataset}: none of the {len(train):,} training windows is normal, and "
            f"{method.title} learns from normal ones. Use a longer log, or another train_fraction."
        )
    if method.labels == "some normal windows":
        return train
    return Windows(
        window_ids=train.window_ids[normal],
        message_ids=[train.message_ids[number] for number in normal.tolist()],
        is_anomalous=train.is_anomalous[normal],
    )
