"""Predictions: the probability of "anomalous" and the verdict for each window of a split, and what
each message of an anomalous one contributed.
"""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from loguru import logger
from numpy.typing import NDArray
from scipy.special import logit

from logllm_core import tables
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.model import gpu_locks
from logllm_core.model.batches import Collator
from logllm_core.model.devices import begin_peak_memory, devices_of, explained_shortage, peak_memory
from logllm_core.model.logllm import LogLLM
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import encode_windows, probabilities, score_log_odds
from logllm_core.scoring import DECISION
from logllm_core.scoring.localize import contributions
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
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training.recipes import Recipe
from logllm_core.training.trained_model import load_model, load_weights

VERSION = 6
VERDICTS = np.array(["normal", "anomalous"])
SCORED_SPLITS: tuple[Split, ...] = ("validation", "test")
MAX_LOCALIZED = 2_000  # distinct windows: a model that flags all would take days
Ids = tuple[int, ...]
CONTRIBUTIONS = "contributions"  # the folder of what messages contributed, a folder a split in it


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What the model says of windows."""

    probabilities: NDArray[np.float64]
    margins: NDArray[np.float64]  # how far from the decision, in log-odds
    are_long: NDArray[np.bool_]  # read in several excerpts
    are_flagged_late: NDArray[np.bool_]  # not by the first excerpt, which is what a cut leaves
    num_cut_lines: NDArray[np.int64]  # of whose message the model reads the beginning alone
    contributions: list[dict[int, float] | None]  # by message id; None where not localized
    rounding: Rounding
    scoring_seconds: float
    localization_seconds: float


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

    A window that is longer than the model reads is read in overlapping excerpts, and the most
    suspicious one decides: so does detection, see judging.py, and a figure must speak of what
    runs. Its messages elsewhere have no row among the contributions. The paper's code cuts in
    evaluation, too; of its data sets that concerns HDFS's longest sessions alone. What it changes
    the results tell: `num_long_windows`, and `num_windows_flagged_late`, which the cut would have
    left normal.

    Of more than MAX_LOCALIZED distinct flagged windows evenly chosen ones have rows;
    the results tell how many are flagged and how many were localized, how far rounding moves
    log-odds, and how many windows lie that near to the decision.
    """
    (device,) = devices_of(1)

    def build(out_dir: Path) -> dict[str, Json]:
        found = {split: read_windows(windows, split) for split in SCORED_SPLITS}
        every = [ids for split in SCORED_SPLITS for ids in found[split].message_ids]

        with gpu_locks.claim(device), explained_shortage():
            begin_peak_memory(device)
            answers = _ask(folders, recipe, trained, messages, windows, every, device)
            peak = peak_memory(device)
        results: dict[str, Json] = {
            "peak_memory_bytes": peak.ram_bytes,
            "peak_gpu_memory_bytes": peak.gpu_bytes,
            "scoring_seconds": round(answers.scoring_seconds, 3),
            "localization_seconds": round(answers.localization_seconds, 3),
            "rounding": {
                "log_odds": answers.rounding.log_odds,
                "num_windows": answers.rounding.num_windows,
                "by_way": dict(answers.rounding.by_way),
            },
        }
        start = 0
        for split, own in found.items():
            part = slice(start, start + len(own))
            start += len(own)
            _write(out_dir, split, own, answers.probabilities[part], answers.contributions[part])
            results[split] = {
                "num_windows": len(own),
                "num_distinct_windows": len(set(own.message_ids)),
                "num_long_windows": int(answers.are_long[part].sum()),
                "num_windows_flagged_late": int(answers.are_flagged_late[part].sum()),
                "num_cut_lines": int(answers.num_cut_lines[part].sum()),
                "num_flagged_windows": int((answers.probabilities[part] > DECISION).sum()),
                "num_windows_within_rounding": answers.rounding.num_within(answers.margins[part]),
                "num_localized_windows": sum(
                    contributed is not None for contributed in answers.contributions[part]
                ),
            }
        logger.info(
            "{}: {:,} test windows, {:,} of them distinct, {:,} anomalous by their verdict",
            dataset,
            *(results["test"][f"num_{kind}windows"] for kind in ("", "distinct_", "flagged_")),
        )
        return results

    return store.reuse_or_build(
        "predictions",
        dataset,
        config={
            "recipe": recipe.shaping,
            "backbones": folders.identity,
        },
        inputs={"messages": messages, "windows": windows, "trained": trained},
        version=VERSION,
        build=build,
    )


def _ask(
    folders: BackboneFolders,
    recipe: Recipe,
    trained: Artifact,
    messages: Artifact,
    windows: Artifact,
    every: Sequence[Ids],
    device: torch.device,
) -> Answers:
    """The model is gone when this returns, and its memory with it."""
    model, collator = load_model(
        folders, recipe, trained, messages=messages, windows=windows, device=device
    )
    ways = _ways(model, collator, lambda: _in_float32(folders, recipe, trained, device))
    set_trainable(model, ())
    began = time.perf_counter()
    parts = [collator.excerpts(window) for window in every]
    excerpts = [window[part] for window, own in zip(every, parts, strict=True) for part in own]
    vectors = encode_windows(model, collator, every)
    odds = score_log_odds(model, collator, excerpts, vectors)
    firsts = np.cumsum([0, *map(len, parts)])
    worst = [start + int(odds[start:end].argmax()) for start, end in pairwise(firsts.tolist())]
    log_odds, deciding = odds[worst], [excerpts[place] for place in worst]
    chances = probabilities(log_odds)
    scored = time.perf_counter()
    found: list[dict[int, float] | None] = [None] * len(every)
    flagged = _to_localize(deciding, chances > DECISION)
    localized = contributions(model, collator, [deciding[place] for place in flagged], vectors)
    for place, own in zip(flagged, localized, strict=True):
        found[place] = own
    localization_seconds = time.perf_counter() - scored
    margins = np.abs(log_odds - logit(DECISION))
    return Answers(
        probabilities=chances,
        margins=margins,
        are_long=np.diff(firsts) > 1,
        are_flagged_late=(chances > DECISION) & (probabilities(odds[firsts[:-1]]) <= DECISION),
        num_cut_lines=_num_cut_lines(every, collator.vocabulary.cut_messages),
        contributions=found,
        rounding=measure_rounding(deciding, log_odds, margins, ways),
        scoring_seconds=scored - began,
        localization_seconds=localization_seconds,
    )


def _num_cut_lines(windows: Sequence[Ids], cut_messages: Set[int]) -> NDArray[np.int64]:
    counts = (sum(message in cut_messages for message in ids) for ids in windows)
    return np.fromiter(counts, dtype=np.int64, count=len(windows))


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


def _to_localize(windows: Sequence[Ids], are_flagged: NDArray[np.bool_]) -> list[int]:
    """Places of the flagged windows, or of evenly chosen ones where too many of them differ."""
    flagged = np.flatnonzero(are_flagged).tolist()
    distinct = list(dict.fromkeys(windows[place] for place in flagged))
    chosen = set(distinct[:: -(-len(distinct) // MAX_LOCALIZED) or 1])
    return [place for place in flagged if windows[place] in chosen]


def _write(
    out_dir: Path,
    split: Split,
    windows: Windows,
    chances: NDArray[np.float64],
    found: Sequence[Mapping[int, float] | None],
) -> None:
    """Both tables of a split."""
    part = Path(f"split={split}", "part-0.parquet")
    columns: Mapping[str, object] = {
        "window_id": windows.window_ids,
        "probability": chances,
        "verdict": VERDICTS[(chances > DECISION).astype(int)],
        "is_anomalous": pa.nulls(len(windows), pa.bool_())
        if windows.is_anomalous is None
        else windows.is_anomalous,
    }
    tables.write(out_dir / part, pa.table(columns), tables.PREDICTIONS)
    rows = [
        (window_id, message, value)
        for window_id, own in zip(windows.window_ids.tolist(), found, strict=True)
        for message, value in (own or {}).items()
    ]
    contributed = pa.Table.from_pylist(
        [dict(zip(tables.CONTRIBUTIONS.names, row, strict=True)) for row in rows],
        tables.CONTRIBUTIONS,
    )
    tables.write(out_dir / CONTRIBUTIONS / part, contributed, tables.CONTRIBUTIONS)
