"""One method on one data set: fitted, and its scores of the validation and the test split."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from loguru import logger

from logllm_core import tables
from logllm_core.config import Settings
from logllm_core.errors import LogLLMError
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.model import gpu_locks
from logllm_core.model.devices import begin_peak_memory, devices_of, explained_shortage, peak_memory
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.paper.building_blocks.events import Reading, learn_events
from logllm_core.paper.building_blocks.fitting import Trainer
from logllm_core.paper.building_blocks.interface import Bench, Ids, Method, Scorer, Scores, Training
from logllm_core.paper.building_blocks.message_vectors import FrozenEncoder
from logllm_core.paper.building_blocks.window_classifier import ClassifierSettings
from logllm_core.scoring import DECISION
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training.checkpoint import checkpoints_beside
from logllm_core.training.sampling import check_both_classes, check_labelled
from logllm_core.training.training_state import METRICS

VERSION = 1
SCORED_SPLITS: tuple[Split, ...] = ("validation", "test")


def run_method(
    store: Store,
    dataset: str,
    *,
    method: Method,
    settings: Settings,
    seed: int,
    folders: BackboneFolders,
    messages: Artifact,
    windows: Artifact,
    checkpoint_minutes: float = 10.0,
) -> Artifact:
    """Fit a method on the training split, and score the other two.

    Files: `split=validation|test/part-0.parquet` as tables.SCORES, and `metrics.jsonl`. The test
    split is read once the method is fitted. What a run that was cut off left in its checkpoints is
    gone on from.

    Args:
        settings: of the method's own class.

    Raises:
        LogLLMError: no labels, no windows to fit on, a loss that is not finite, not enough memory.
    """
    config: dict[str, Json] = {
        "method": method.name,
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
    }
    if method.has_encoder:  # another encoder trains no other method again
        config["encoder"] = {k: v for k, v in folders.identity.items() if k.startswith("encoder")}
    inputs = {"messages": messages, "windows": windows}
    made_for = {
        **config,
        "inputs": {name: found.fingerprint for name, found in inputs.items()},
        "version": VERSION,
    }
    (device,) = devices_of(1)

    def build(out_dir: Path) -> dict[str, Json]:
        trainer = Trainer(
            title=method.title,
            seed=seed,
            device=device,
            folder=checkpoints_beside(out_dir),
            made_for=made_for,
            checkpoint_minutes=checkpoint_minutes,
        )
        with gpu_locks.claim(device), explained_shortage():
            begin_peak_memory(device)
            bench = Bench(
                seed=seed, device=device, trainer=trainer, encoder=FrozenEncoder(folders, device)
            )
            results = _fit_and_score(out_dir, dataset, method, settings, bench, messages, windows)
            peak = peak_memory(device)
        return results | {
            "peak_memory_bytes": max(peak.ram_bytes, trainer.peak_memory_bytes),
            "peak_gpu_memory_bytes": max(peak.gpu_bytes, trainer.peak_gpu_memory_bytes),
        }

    artifact = store.reuse_or_build(
        "detectors", dataset, config=config, inputs=inputs, version=VERSION, build=build
    )
    # Only now that the artifact is in its place: a kill before this loses no step.
    shutil.rmtree(checkpoints_beside(artifact.path), ignore_errors=True)
    return artifact


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
        message_ids=[train.message_ids[place] for place in normal.tolist()],
        is_anomalous=train.is_anomalous[normal],
    )


def score_distinct(scorer: Scorer, windows: Sequence[Ids]) -> tuple[Scores, int]:
    """Scores of windows, each distinct one scored once, and how many these are."""
    place_of = {ids: place for place, ids in enumerate(dict.fromkeys(windows))}
    if not place_of:
        return np.zeros(0), 0
    scores = scorer(list(place_of))
    assert scores.shape == (len(place_of),)
    assert ((scores >= 0) & (scores <= 1)).all(), "scores are in [0, 1]"
    return scores[[place_of[ids] for ids in windows]], len(place_of)


def _fit_and_score(
    out_dir: Path,
    dataset: str,
    method: Method,
    settings: Settings,
    bench: Bench,
    messages: Artifact,
    windows: Artifact,
) -> dict[str, Json]:
    started = time.perf_counter()
    texts = read_vocabulary(messages)
    reading, training = read_training(
        method,
        dataset,
        read_windows(windows, "train"),
        texts,
        has_sessions=windows.manifest["config"]["windows"]["kind"] == "session",
    )
    scorer = method.fit(training, settings, bench)
    trainer = bench.trainer
    # What an earlier attempt trained counts; what is loaded from it now took no time to speak of.
    fit_seconds = time.perf_counter() - started - trainer.seconds_now + trainer.seconds
    found = {split: read_windows(windows, split) for split in SCORED_SPLITS}
    started = time.perf_counter()
    read = reading.read([ids for split in SCORED_SPLITS for ids in found[split].message_ids])
    scores, num_distinct = score_distinct(scorer, read)
    score_seconds = time.perf_counter() - started
    _write(out_dir, method, found, scores)
    (out_dir / METRICS).write_text(
        "".join(json.dumps(row) + "\n" for row in trainer.rows), encoding="utf-8"
    )
    test = scores[len(found["validation"]) :]
    logger.info(
        "{}: {} fitted in {:.1f} s, {:,} windows ({:,} distinct) scored in {:.1f} s, {:,} alarms "
        "in the test split",
        *(dataset, method.title, fit_seconds, len(scores), num_distinct, score_seconds),
        int((test > DECISION).sum()),
    )
    return {
        "fit_seconds": round(fit_seconds, 3),
        "score_seconds": round(score_seconds, 3),
        "num_training_windows": len(training.windows),
        "num_windows": len(scores),
        "num_distinct_windows": num_distinct,
        "num_events": training.events.num_known,
        "num_new_events": len(training.events.texts) - training.events.num_known,
        "num_cut_texts": bench.encoder.num_cut_texts,
        "num_cut_windows": _num_cut(settings, read),
        "num_parameters": trainer.num_parameters,
        "num_steps": len(trainer.rows),
        "num_resumes": trainer.num_resumes,
    }


def _num_cut(settings: Settings, windows: Sequence[Ids]) -> int:
    """How many of the scored windows are longer than the method reads."""
    if not isinstance(settings, ClassifierSettings):
        return 0
    return sum(len(ids) > settings.max_window_events for ids in windows)


def read_training(
    method: Method, dataset: str, train: Windows, texts: Sequence[str], *, has_sessions: bool
) -> tuple[Reading, Training]:
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


def _write(out_dir: Path, method: Method, found: dict[Split, Windows], scores: Scores) -> None:
    start = 0
    for split, own in found.items():
        part = scores[start : start + len(own)]
        start += len(own)
        table = pa.table(
            {
                "detector": [method.name] * len(own),
                "window_id": own.window_ids,
                "score": part,
                "is_alarm": part > DECISION,
            }
        )
        tables.write(out_dir / f"split={split}" / "part-0.parquet", table, tables.SCORES)
