"""Predictions: the probability of "anomalous" and the verdict for each window of a split, and what
each message of an anomalous one contributed.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
from loguru import logger

from logllm_core import tables
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.model import gpu_locks
from logllm_core.model.batches import Collator
from logllm_core.model.devices import begin_peak_memory, devices_of, explained_shortage, peak_memory
from logllm_core.model.logllm import LogLLM
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.model.weights import set_trainable
from logllm_core.scoring.judge import MAX_LOCALIZED, Ids, Judge, Judgements
from logllm_core.scoring.read_messages import PreparedMessages
from logllm_core.scoring.rounding import (
    FEW,
    IN_FEW,
    IN_FLOAT32,
    Rounding,
    Way,
    has_cheap_float32,
    in_batches_of,
    in_float32,
    measure_rounding,
)
from logllm_core.scoring.verdicts import verdict_columns
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training.recipes import Recipe
from logllm_core.training.trained_model import load_model, load_weights

VERSION = 6
SCORED_SPLITS: tuple[Split, ...] = ("validation", "test")
CONTRIBUTIONS = "contributions"  # the folder of what messages contributed, a folder a split in it


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What predictions are made from."""

    folders: BackboneFolders
    recipe: Recipe
    messages: Artifact
    windows: Artifact
    trained: Artifact


def predict(
    store: Store,
    dataset: str,
    *,
    recipe: Recipe,
    folders: BackboneFolders,
    messages: Artifact,
    windows: Artifact,
    trained: Artifact,
) -> Artifact:
    """Predictions for the validation and the test split: `split=*/part-0.parquet`.

    `contributions/split=*/part-0.parquet` says of each window whose verdict is "anomalous" what
    each of its distinct messages contributed.

    A window that is longer than the model reads is read in overlapping excerpts, see judge.py: so
    does detection, and a figure must speak of what runs. Its messages elsewhere have no row among
    the contributions. The paper's code cuts in evaluation, too; of its data sets that concerns
    HDFS's longest sessions alone. What it changes the results tell: `num_long_windows`, and
    `num_windows_flagged_late`, which the cut would have left normal.

    Of more than MAX_LOCALIZED distinct flagged windows evenly chosen ones have rows;
    the results tell how many are flagged and how many were localized, how far rounding moves
    log-odds, and how many windows lie that near to the decision.
    """
    question = _Question(
        folders=folders, recipe=recipe, messages=messages, windows=windows, trained=trained
    )
    return store.reuse_or_build(
        "predictions",
        dataset,
        config={
            "recipe": recipe.shaping,
            "backbones": folders.identity,
        },
        inputs={"messages": messages, "windows": windows, "trained": trained},
        version=VERSION,
        build=lambda out_dir: _build(out_dir, question),
    )


def _build(out_dir: Path, question: _Question) -> dict[str, Json]:
    (device,) = devices_of(1)
    splits = {split: read_windows(question.windows, split) for split in SCORED_SPLITS}
    every = [ids for split in SCORED_SPLITS for ids in splits[split].message_ids]
    with gpu_locks.claim(device), explained_shortage():
        begin_peak_memory(device)
        judged, rounding, seconds = _ask(question, every, device)
        peak = peak_memory(device)
    results: dict[str, Json] = {
        "peak_memory_bytes": peak.ram_bytes,
        "peak_gpu_memory_bytes": peak.gpu_bytes,
        "scoring_seconds": round(seconds - judged.localization_seconds, 3),
        "localization_seconds": round(judged.localization_seconds, 3),
        "rounding": {
            "log_odds": rounding.log_odds,
            "num_windows": rounding.num_windows,
            "by_way": dict(rounding.by_way),
        },
    }
    start = 0
    for split, windows in splits.items():
        part = slice(start, start + len(windows))
        start += len(windows)
        _write(out_dir, split, windows, judged, part)
        results[split] = _counts(windows, judged, part, rounding)
    logger.info(
        "{}: {:,} test windows, {:,} of them distinct, {:,} anomalous by their verdict",
        question.windows.dataset,
        *(results["test"][f"num_{kind}windows"] for kind in ("", "distinct_", "flagged_")),
    )
    return results


def _counts(
    windows: Windows, judged: Judgements, part: slice, rounding: Rounding
) -> dict[str, int]:
    """What came out of a split, whose windows are that part of those judged."""
    return {
        "num_windows": len(windows),
        "num_distinct_windows": len(set(windows.message_ids)),
        "num_long_windows": int((judged.num_excerpts[part] > 1).sum()),
        "num_windows_flagged_late": int(judged.are_flagged_late[part].sum()),
        "num_cut_lines": int(judged.num_cut_lines[part].sum()),
        "num_flagged_windows": int(judged.are_flagged[part].sum()),
        "num_windows_within_rounding": rounding.num_within(judged.margins[part]),
        "num_localized_windows": sum(each is not None for each in judged.contributions[part]),
    }


def _ask(
    question: _Question, every: Sequence[Ids], device: torch.device
) -> tuple[Judgements, Rounding, float]:
    """What the model says, how sure that is, and the seconds of it.

    The model is gone when this returns, and its memory with it.
    """
    folders, recipe, trained = question.folders, question.recipe, question.trained
    model, collator = load_model(
        folders,
        recipe,
        trained,
        messages=question.messages,
        windows=question.windows,
        device=device,
    )
    ways = _ways(model, collator, lambda: _in_float32(folders, recipe, trained, device))
    set_trainable(model, ())
    began = time.perf_counter()
    messages = PreparedMessages(model, collator, every)
    judged = Judge(model=model, messages=messages, chosen=_evenly_chosen).judge(every)
    seconds = time.perf_counter() - began
    return judged, measure_rounding(judged.deciding, judged.log_odds, judged.margins, ways), seconds


def _ways(model: LogLLM, collator: Collator, load: Callable[[], LogLLM]) -> dict[str, Way]:
    """The other ways of scoring that cost little."""
    ways = {IN_FEW: in_batches_of(FEW, model, collator)}
    return ways | ({IN_FLOAT32: in_float32(load, collator)} if has_cheap_float32(model) else {})


def _in_float32(
    folders: BackboneFolders, recipe: Recipe, trained: Artifact, device: torch.device
) -> LogLLM:
    """Not compiled, which would take longer than what it is asked."""
    plain = recipe.model_copy(update={"precision": "float32", "is_compiled": False})
    return load_weights(folders, plain, trained, device=device).model


def _evenly_chosen(flagged: Sequence[Ids]) -> Sequence[Ids]:
    """All, or of too many some from the first to the last."""
    return flagged[:: -(-len(flagged) // MAX_LOCALIZED) or 1]


def _write(out_dir: Path, split: Split, windows: Windows, judged: Judgements, part: slice) -> None:
    """Both tables of a split, whose windows are that part of those judged."""
    file = Path(f"split={split}", "part-0.parquet")
    columns: Mapping[str, object] = {
        "window_id": windows.window_ids,
        **verdict_columns(judged.probabilities[part], judged.are_flagged[part]),
        "is_anomalous": pa.nulls(len(windows), pa.bool_())
        if windows.is_anomalous is None
        else windows.is_anomalous,
    }
    tables.write(out_dir / file, pa.table(columns), tables.PREDICTIONS)
    rows = [
        {"window_id": window_id, "message_id": ids[line], "contribution": contributed}
        for window_id, ids, contributions in zip(
            windows.window_ids.tolist(),
            windows.message_ids,
            judged.contributions[part],
            strict=True,
        )
        for line, contributed in (contributions or {}).items()
    ]
    contributed = pa.Table.from_pylist(rows, tables.CONTRIBUTIONS)
    tables.write(out_dir / CONTRIBUTIONS / file, contributed, tables.CONTRIBUTIONS)
