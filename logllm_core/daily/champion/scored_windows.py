"""What a champion said of windows: of its training period, of the newest ones, of new logs."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.daily.champion.decisions import Champion
from logllm_core.daily.champion.fair_windows import newer_windows
from logllm_core.daily.ledger.cursors import new_parts
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.splits import SPLITS, Split
from logllm_core.store.intact_files import is_whole
from logllm_core.store.store import Artifact, Store

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredWindows:
    """What one model said of some windows."""

    probabilities: Scores
    num_lines: int
    num_unseen_lines: int | None  # None where the training vocabulary is gone


def training_period(store: Store, dataset: str, champion: Champion) -> ScoredWindows | None:
    """What the champion said of the validation split of its own training.

    Without a validation split it is the test split of then. None where the predictions are gone.
    """
    wanted = {"trained": champion.trained, "windows": champion.windows}
    for predictions in store.all("predictions", dataset):
        if wanted.items() <= predictions.manifest["inputs"].items():
            splits: tuple[Split, ...] = ("validation", "test")
            of_splits = (_probabilities(predictions, split) for split in splits)
            scores = next((some for some in of_splits if len(some)), None)
            if scores is None:
                return None
            # The vocabulary is that of all lines of then.
            return ScoredWindows(probabilities=scores, num_lines=0, num_unseen_lines=0)
    return None


def newest_windows(
    store: Store,
    champion: Champion,
    *,
    messages: Artifact,
    windows: Artifact,
    predictions: Artifact,
) -> ScoredWindows | None:
    """What the champion said of test windows that were not there yet when it was trained.

    Where it cannot be told which these are, it is all of the test split. None without any.

    Args:
        messages, windows: the newest.
        predictions: the champion's, of these windows.
    """
    dataset = windows.dataset
    before = store.data_dir / "windows" / dataset / champion.windows
    newer = newer_windows(windows, [before], SPLITS)
    lists = tables.read(windows.path / "split=test", tables.WINDOWS, ["message_ids"])
    ids = pc.list_flatten(lists["message_ids"].filter(pa.array(newer.are_newer))).to_numpy()
    known = known_messages(store, dataset, champion)
    num_unseen = None
    if known is not None:
        texts = enumerate(read_vocabulary(messages))
        unseen = [message for message, text in texts if text not in known]
        num_unseen = int(np.isin(ids, unseen).sum())
    scores = _probabilities(predictions, "test")[newer.are_newer]
    if not len(scores):
        return None
    return ScoredWindows(probabilities=scores, num_lines=len(ids), num_unseen_lines=num_unseen)


def judged_since(
    store: Store, dataset: str, champion: Champion, since: datetime
) -> ScoredWindows | None:
    """What the champion said of windows of new logs from a moment on; None where there are none.

    Args:
        since: with its time zone.
    """
    moment = pa.scalar(since.astimezone(UTC).replace(tzinfo=None), pa.timestamp("us"))
    columns = ["probability", "num_lines", "num_unseen_lines", "model", "judged"]
    chosen = []
    for part in new_parts(store, dataset):
        table = pq.read_table(part, columns=columns)
        is_chosen = pc.and_(
            pc.greater_equal(table["judged"], moment), pc.equal(table["model"], champion.trained)
        )
        chosen.append(table.filter(is_chosen))
    judged = pa.concat_tables(chosen) if chosen else None
    if not judged:
        return None
    unseen = judged["num_unseen_lines"]
    return ScoredWindows(
        probabilities=judged["probability"].to_numpy(),
        num_lines=pc.sum(judged["num_lines"]).as_py(),
        num_unseen_lines=None if unseen.null_count else pc.sum(unseen).as_py(),
    )


def known_messages(store: Store, dataset: str, champion: Champion) -> set[str] | None:
    """The masked messages that the champion's training met; None where they are gone."""
    messages = store.named("messages", dataset, champion.messages)
    return set(read_vocabulary(messages)) if is_whole(messages.path) else None


def _probabilities(predictions: Artifact, split: Split) -> Scores:
    table = tables.read(predictions.path / f"split={split}", tables.PREDICTIONS, ["probability"])
    scores: Scores = table["probability"].to_numpy()
    return scores
