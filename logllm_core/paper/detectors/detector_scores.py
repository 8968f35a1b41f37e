"""One method on one data set: fitted, and its scores of the validation and the test split."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from loguru import logger

from logllm_core import tables
from logllm_core.config import Settings
from logllm_core.evaluation.measures.bags import distinct
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.model import gpu_locks
from logllm_core.model.devices import begin_peak_memory, devices_of, explained_shortage, peak_memory
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.paper.building_blocks.fitting import Trainer
from logllm_core.paper.building_blocks.interface import Bench, Ids, Method, Scorer, Scores, Training
from logllm_core.paper.building_blocks.message_vectors import FrozenEncoder
from logllm_core.paper.building_blocks.training_windows import read_training
from logllm_core.paper.building_blocks.window_classifier import ClassifierSettings
from logllm_core.scoring import DECISION
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training.checkpoint import checkpoints_beside
from logllm_core.training.training_state import METRICS

VERSION = 1
SCORED_SPLITS: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A method as it is to be tried, and the log that it is tried on."""

    dataset: str
    method: Method
    settings: Settings  # of the method's own class
    seed: int
    folders: BackboneFolders
    messages: Artifact
    windows: Artifact

    @property
    def config(self) -> dict[str, Json]:
        encoder = {k: v for k, v in self.folders.identity.items() if k.startswith("encoder")}
        return {
            "method": self.method.name,
            "settings": self.settings.model_dump(mode="json"),
            "seed": self.seed,
            # Another encoder trains no other method again.
            **({"encoder": encoder} if self.method.has_encoder else {}),
        }

    @property
    def inputs(self) -> dict[str, Artifact]:
        return {"messages": self.messages, "windows": self.windows}

    @property
    def made_for(self) -> dict[str, Json]:
        """What a checkpoint of it is known by."""
        fingerprints = {name: made.fingerprint for name, made in self.inputs.items()}
        return {**self.config, "inputs": fingerprints, "version": VERSION}


def run_method(
    store: Store, assignment: Assignment, *, checkpoint_minutes: float = 10.0
) -> Artifact:
    """Fit a method on the training split, and score the other two.

    Files: `split=validation|test/part-0.parquet` as tables.SCORES, and `metrics.jsonl`. The test
    split is read once the method is fitted. What a run that was cut off left in its checkpoints is
    gone on from.

    Raises:
        LogLLMError: no labels, no windows to fit on, a loss that is not finite, not enough memory.
    """
    artifact = store.reuse_or_build(
        "detectors",
        assignment.dataset,
        config=assignment.config,
        inputs=assignment.inputs,
        version=VERSION,
        build=lambda out_dir: _build(out_dir, assignment, checkpoint_minutes),
    )
    # Only now that the artifact is in its place: a kill before this loses no step.
    shutil.rmtree(checkpoints_beside(artifact.path), ignore_errors=True)
    return artifact


def _build(out_dir: Path, assignment: Assignment, checkpoint_minutes: float) -> dict[str, Json]:
    (device,) = devices_of(1)
    trainer = Trainer(
        title=assignment.method.title,
        seed=assignment.seed,
        device=device,
        folder=checkpoints_beside(out_dir),
        made_for=assignment.made_for,
        checkpoint_minutes=checkpoint_minutes,
    )
    with gpu_locks.claim(device), explained_shortage():
        begin_peak_memory(device)
        encoder = FrozenEncoder(assignment.folders, device)
        bench = Bench(seed=assignment.seed, device=device, trainer=trainer, encoder=encoder)
        results = _fit_and_score(out_dir, assignment, bench)
        peak = peak_memory(device)
    return results | {
        "peak_memory_bytes": max(peak.ram_bytes, trainer.peak_memory_bytes),
        "peak_gpu_memory_bytes": max(peak.gpu_bytes, trainer.peak_gpu_memory_bytes),
    }


def score_distinct(scorer: Scorer, windows: Sequence[Ids]) -> tuple[Scores, int]:
    """Scores of windows, each distinct one scored once, and how many these are."""
    once, number_of = distinct(windows)
    if not once:
        return np.zeros(0), 0
    scores = scorer(once)
    assert scores.shape == (len(once),)
    assert ((scores >= 0) & (scores <= 1)).all(), "scores are in [0, 1]"
    return scores[number_of], len(once)


def _fit_and_score(out_dir: Path, assignment: Assignment, bench: Bench) -> dict[str, Json]:
    started, trainer = time.perf_counter(), bench.trainer
    method, windows = assignment.method, assignment.windows
    reading, training = read_training(
        method,
        assignment.dataset,
        read_windows(windows, "train"),
        read_vocabulary(assignment.messages),
        has_sessions=windows.manifest["config"]["windows"]["kind"] == "session",
    )
    scorer = method.fit(training, assignment.settings, bench)
    # What an earlier attempt trained counts; what is loaded from it now took no time to speak of.
    fit_seconds = time.perf_counter() - started - trainer.seconds_now + trainer.seconds
    splits = {split: read_windows(windows, split) for split in SCORED_SPLITS}
    started = time.perf_counter()
    read = reading.read([ids for split in splits.values() for ids in split.message_ids])
    scores, num_distinct = score_distinct(scorer, read)
    score_seconds = time.perf_counter() - started
    num_alarms = _write(out_dir, method, splits, scores)
    metrics = "".join(json.dumps(row) + "\n" for row in trainer.rows)
    (out_dir / METRICS).write_text(metrics, encoding="utf-8")
    logger.info(
        "{}: {} fitted in {:.1f} s, {:,} windows ({:,} distinct) scored in {:.1f} s, {:,} alarms "
        "in the test split",
        *(assignment.dataset, method.title, fit_seconds, len(scores), num_distinct),
        *(score_seconds, num_alarms["test"]),
    )
    return {
        "fit_seconds": round(fit_seconds, 3),
        "score_seconds": round(score_seconds, 3),
        "num_windows": len(scores),
        "num_distinct_windows": num_distinct,
        "num_cut_windows": _num_cut(assignment.settings, read),
        **_counts(training, bench),
    }


def _counts(training: Training, bench: Bench) -> dict[str, Json]:
    """What it was fitted on, and what of it was trained."""
    return {
        "num_training_windows": len(training.windows),
        "num_events": training.events.num_known,
        "num_new_events": len(training.events.texts) - training.events.num_known,
        "num_cut_texts": bench.encoder.num_cut_texts,
        "num_parameters": bench.trainer.num_parameters,
        "num_steps": len(bench.trainer.rows),
        "num_resumes": bench.trainer.num_resumes,
    }


def _num_cut(settings: Settings, windows: Sequence[Ids]) -> int:
    """How many of the scored windows are longer than the method reads."""
    if not isinstance(settings, ClassifierSettings):
        return 0
    return sum(len(ids) > settings.max_window_events for ids in windows)


def _write(
    out_dir: Path, method: Method, splits: Mapping[Split, Windows], scores: Scores
) -> dict[Split, int]:
    """The tables of both splits; returns the number of alarms in each."""
    start, num_alarms = 0, {}
    for split, windows in splits.items():
        part = scores[start : start + len(windows)]
        start += len(windows)
        is_alarm = part > DECISION
        num_alarms[split] = int(is_alarm.sum())
        table = pa.table(
            {
                "detector": [method.name] * len(windows),
                "window_id": windows.window_ids,
                "score": part,
                "is_alarm": is_alarm,
            }
        )
        tables.write(out_dir / f"split={split}" / "part-0.parquet", table, tables.SCORES)
    return num_alarms
