"""Predictions: the probability of "anomalous" and the verdict for each window of a split."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from loguru import logger
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.detection import DECISION
from logllm_core.logs.splitting import Split
from logllm_core.logs.windows import Windows, read_windows
from logllm_core.model.devices import begin_peak_memory, devices_of, explained_shortage, peak_memory
from logllm_core.model.places import Places
from logllm_core.model.scoring import score_windows
from logllm_core.store import Artifact, Json, Store
from logllm_core.training import cards
from logllm_core.training.recipes import Recipe
from logllm_core.training.trained import load_model

VERSION = 2
VERDICTS = np.array(["normal", "anomalous"])
SCORED_SPLITS: tuple[Split, ...] = ("validation", "test")


def predict(
    store: Store,
    dataset: str,
    *,
    recipe: Recipe,
    places: Places,
    messages: Artifact,
    windows: Artifact,
    trained: Artifact,
) -> Artifact:
    """Predictions for the validation and the test split: `split=*/part-0.parquet`."""
    (device,) = devices_of(1)

    def build(out_dir: Path) -> dict[str, Json]:
        found = {split: read_windows(windows, split) for split in SCORED_SPLITS}
        every = [ids for split in SCORED_SPLITS for ids in found[split].message_ids]

        def score() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
            """The model is gone when this returns, and its memory with it."""
            begin_peak_memory(device)
            model, collator = load_model(
                places, recipe, trained, messages=messages, windows=windows, device=device
            )
            are_cut = np.fromiter(map(collator.is_cut, every), dtype=bool, count=len(every))
            return score_windows(model, collator, every), are_cut

        with cards.claim(device), explained_shortage():
            probabilities, are_cut = score()
            peak = peak_memory(device)
        results: dict[str, Json] = {
            "peak_memory_bytes": peak.ram_bytes,
            "peak_gpu_memory_bytes": peak.gpu_bytes,
        }
        start = 0
        for split in SCORED_SPLITS:
            ids = found[split].message_ids
            own = slice(start, start + len(ids))
            start += len(ids)
            _write(out_dir / f"split={split}" / "part-0.parquet", found[split], probabilities[own])
            results[split] = {
                "num_windows": len(ids),
                "num_distinct_windows": len({i[: recipe.max_window_messages] for i in ids}),
                "num_cut_windows": int(are_cut[own].sum()),
            }
        logger.info(
            "{}: {:,} test windows, {:,} of them distinct",
            *(dataset, results["test"]["num_windows"], results["test"]["num_distinct_windows"]),
        )
        return results

    return store.reuse_or_build(
        "predictions",
        dataset,
        config={
            "recipe": recipe.shaping,
            "backbones": places.identity,
        },
        inputs={"messages": messages, "windows": windows, "trained": trained},
        version=VERSION,
        build=build,
    )


def _write(path: Path, windows: Windows, chances: NDArray[np.float64]) -> None:
    columns: Mapping[str, object] = {
        "window_id": windows.window_ids,
        "probability": chances,
        "verdict": VERDICTS[(chances > DECISION).astype(int)],
        "is_anomalous": pa.nulls(len(windows), pa.bool_())
        if windows.is_anomalous is None
        else windows.is_anomalous,
    }
    tables.write(path, pa.table(columns), tables.PREDICTIONS)
