"""Scoring: the probability of "anomalous" for each window, each distinct window once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from loguru import logger

from logllm_core import tables
from logllm_core.detection import DECISION
from logllm_core.logs.messages import read_vocabulary
from logllm_core.logs.splitting import Split
from logllm_core.logs.windows import Windows, read_windows
from logllm_core.model import backbones
from logllm_core.model.batches import TokenizedVocabulary, make_batch
from logllm_core.model.logllm import LogLLM, encode_vocabulary
from logllm_core.model.places import Places
from logllm_core.progress import track
from logllm_core.store import Artifact, Json, Store
from logllm_core.training import checkpoint
from logllm_core.training.recipes import Recipe

VERSION = 1
BATCH_SIZE = 32
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
    device = backbones.default_device()
    dtype = backbones.fastest_dtype(device)

    def build(out_dir: Path) -> dict[str, Json]:
        model, tokenizer = checkpoint.load_model(
            places, recipe, trained, device=device, dtype=dtype
        )
        vocabulary = TokenizedVocabulary(
            read_vocabulary(messages), tokenizer, max_message_tokens=recipe.max_message_tokens
        )
        scores: dict[tuple[int, ...], float] = {}
        results: dict[str, Json] = {}
        for split in SCORED_SPLITS:
            found = read_windows(windows, split)
            cut = [ids[: recipe.max_window_messages] for ids in found.message_ids]
            new = sorted(set(cut) - scores.keys(), key=lambda ids: (len(ids), ids))
            probabilities = score_windows(model, vocabulary, new)
            scores |= dict(zip(new, probabilities.tolist(), strict=True))
            _write(out_dir / f"split={split}" / "part-0.parquet", found, [scores[i] for i in cut])
            results[split] = {
                "num_windows": len(cut),
                "num_distinct_windows": len(set(cut)),
                "num_cut_windows": found.num_longer_than(recipe.max_window_messages),
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
            "recipe": recipe.model_dump(mode="json", exclude={"name", "stages"}),
            "backbones": places.identity,
        },
        inputs={"messages": messages, "windows": windows, "trained": trained},
        version=VERSION,
        build=build,
    )


def score_windows(
    model: LogLLM, vocabulary: TokenizedVocabulary, windows: Sequence[tuple[int, ...]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Probability of "anomalous" against "normal" for each window, in the order given.

    Windows of like length in a row waste least on padding.
    """
    backbones.set_trainable(model, ())
    probabilities = np.empty(len(windows))
    if not windows:
        return probabilities
    vectors_ME = encode_vocabulary(model, vocabulary)
    with track("Scoring", total=len(windows), unit="windows") as advance:
        for start in range(0, len(windows), BATCH_SIZE):
            chosen = windows[start : start + BATCH_SIZE]
            batch = make_batch(
                chosen, [False] * len(chosen), vocabulary=vocabulary, vectors_ME=vectors_ME
            )
            log_probabilities = model.answer_log_probabilities(batch.to(model.device))
            normal, anomalous = log_probabilities.double().unbind(-1)
            chance = torch.sigmoid(anomalous - normal)
            probabilities[start : start + len(chosen)] = chance.cpu().numpy()
            advance(len(chosen))
    return probabilities


def _write(path: Path, windows: Windows, probabilities: Sequence[float]) -> None:
    chances = np.array(probabilities, dtype=np.float64)
    columns: Mapping[str, object] = {
        "window_id": windows.window_ids,
        "probability": chances,
        "verdict": VERDICTS[(chances > DECISION).astype(int)],
        "is_anomalous": pa.nulls(len(windows), pa.bool_())
        if windows.is_anomalous is None
        else windows.is_anomalous,
    }
    tables.write(path, pa.table(columns), tables.PREDICTIONS)
