"""A small log to train on: a window is anomalous where message 2 occurs in it."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from loguru import logger

from logllm_core import progress, tables
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.model import Part
from logllm_core.model.logllm import LogLLM
from logllm_core.model.sources.named_backbones import BackboneFolders, Backbones
from logllm_core.model.window_answers import encode_windows
from logllm_core.progress import Advance
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training import sampling
from logllm_core.training.checkpoint import Checkpoints
from logllm_core.training.gradients import TrainingMaterial
from logllm_core.training.process_team import Team
from logllm_core.training.recipes import Recipe, Stage
from logllm_core.training.stage import train_stage
from logllm_core.training.stage_plan import Execution, StagePlan
from logllm_core.training.stage_run import StageRun
from tests import tiny

TEXTS = ["alpha read ok", "beta write", "gamma disk failed", "delta"]
# 7 normal and 4 anomalous: more than 30 %, so that an epoch is these eleven, in batches of 5, 5, 1.
TRAIN = [
    *[(0, 1), (1, 0, 0), (3, 0), (1, 1), (0, 3, 3), (1,), (3, 1, 0, 1)],
    *[(0, 2), (3, 2, 1), (2, 2), (1, 0, 0, 2)],
]
VALIDATION = [(0, 0, 1), (1, 3), (0,), (3, 3, 1), (2, 0), (1, 2, 3), (0, 1, 1), (3, 0, 2)]
TEST = [(1, 1, 1), (2,)]
TRAINS: dict[str, tuple[Part, ...]] = {
    "1": ("decoder",),
    "2": ("projector", "encoder"),
    "3": ("projector", "encoder", "decoder"),
}
ALONE = Team(rank=0, num_processes=1, device=torch.device("cpu"))
EVERY_STEP = Execution(checkpoint_minutes=0)


def windows(message_ids: Sequence[tuple[int, ...]], first_id: int = 70) -> Windows:
    return Windows(
        window_ids=np.arange(len(message_ids)) + first_id,
        message_ids=list(message_ids),
        is_anomalous=np.array([2 in ids for ids in message_ids]),
    )


def stage(name: str = "3", rate: float = 1e-2, num_epochs: int = 1) -> Stage:
    return Stage(name=name, trains=TRAINS[name], num_epochs=num_epochs, learning_rate=rate)


def recipe(*stages: Stage, **settings: object) -> Recipe:
    values = {
        "name": "small",
        "stages": stages or (stage(),),
        "batch_size": 5,
        "micro_batch_size": 5,
        "quantization": "none",
        "max_message_tokens": 16,
    }
    return Recipe.parse(values | settings, origin="the recipe of a test")


def checkpoints(folder: Path, **made_for: object) -> Checkpoints:
    return Checkpoints(folder=folder / "checkpoints", made_for=made_for)


def stage_run(
    model: LogLLM,
    of: Recipe,
    folder: Path,
    *,
    execution: Execution = EVERY_STEP,
    validation: Windows | None = None,
) -> StageRun:
    """The recipe's first stage, ready to run, in this process and without a store."""
    (first, *_) = of.trained_stages
    train = windows(TRAIN)
    collator = tiny.collator(TEXTS, of=model, embedder=of.embedder)
    is_frozen = "encoder" not in first.trains
    material = TrainingMaterial(
        train=train,
        validation=validation,
        collator=collator,
        batches=sampling.batches(first, of, train),
        vectors=encode_windows(model, collator, train.message_ids) if is_frozen else None,
    )
    return StageRun(
        model,
        material,
        first,
        of,
        team=ALONE,
        checkpoints=checkpoints(folder),
        execution=execution,
    )


def without_time(results: dict[str, Json]) -> dict[str, Json]:
    """Results, but for what no two runs have in common."""
    measured = {"training_seconds", "peak_memory_bytes", "peak_gpu_memory_bytes"}
    return {name: value for name, value in results.items() if name not in measured}


class Tripwire:
    """A display that acts once so many steps are done, and each time after."""

    def __init__(self, num_steps: int, act: Callable[[], object]) -> None:
        self.num_steps = num_steps
        self.act = act

    def track(
        self, description: str, total: int | None, unit: str
    ) -> AbstractContextManager[Advance]:
        return self._track(unit)

    @contextmanager
    def _track(self, unit: str) -> Iterator[Advance]:
        done = 0

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            if unit == "steps" and done >= self.num_steps:
                self.act()

        yield advance


@contextmanager
def shown_on(display: progress.Display) -> Iterator[None]:
    token = progress.display.set(display)
    try:
        yield
    finally:
        progress.display.reset(token)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A training of several stages in a store.

    Args:
        backbones_dir: what `tiny.save` has filled.
    """

    data_dir: Path
    backbones_dir: Path
    recipe: Recipe

    @property
    def store(self) -> Store:
        return Store(data_dir=self.data_dir)

    def plan(self, place: int = 0, previous: Artifact | None = None) -> StagePlan:
        messages, cut = prepare(self.store)
        return StagePlan(
            dataset="small",
            stage=self.recipe.trained_stages[place],
            recipe=self.recipe,
            folders=BackboneFolders(
                named=Backbones(encoder="tiny", decoder="tiny"),
                encoder=str(self.backbones_dir / "encoder"),
                decoder=str(self.backbones_dir / "decoder"),
            ),
            messages=messages,
            windows=cut,
            previous=previous,
        )

    def train(self, execution: Execution = EVERY_STEP) -> list[Artifact]:
        """All stages, each from the one before."""
        stages: list[Artifact] = []
        for place in range(len(self.recipe.trained_stages)):
            previous = stages[-1] if stages else None
            stages.append(train_stage(self.store, self.plan(place, previous), execution))
        return stages

    @property
    def leftovers(self) -> list[str]:
        """What a training in its middle has beside the trained stages, without the locks."""
        found = (self.data_dir / "models" / "small").glob(".*")
        return sorted(path.name for path in found if path.suffix != ".lock")


def prepare(store: Store) -> tuple[Artifact, Artifact]:
    """The messages and the windows of the small log."""
    messages = store.reuse_or_build(
        "messages", "small", config={}, inputs={}, version=1, build=_write_messages
    )
    cut = store.reuse_or_build(
        "windows",
        "small",
        config={"is_labelled": True},
        inputs={"messages": messages},
        version=1,
        build=_write_windows,
    )
    return messages, cut


def _write_messages(out_dir: Path) -> dict[str, Json]:
    numbers = range(len(TEXTS))
    columns = {
        "message_id": pa.array(numbers, pa.int32()),
        "text": TEXTS,
        "num_lines": [1] * len(TEXTS),
        "first_line_number": list(numbers),
    }
    tables.write(out_dir / "vocabulary.parquet", pa.table(columns), tables.VOCABULARY)
    return {}


def _write_windows(out_dir: Path) -> dict[str, Json]:
    first_id = 0
    for split, message_ids in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        found = windows(message_ids, first_id)
        assert found.is_anomalous is not None
        rows = [
            {
                "window_id": int(window_id),
                "message_ids": list(ids),
                "line_numbers": [0] * len(ids),
                "is_anomalous": bool(is_anomalous),
            }
            for window_id, ids, is_anomalous in zip(
                found.window_ids, message_ids, found.is_anomalous, strict=True
            )
        ]
        table = pa.Table.from_pylist(rows, schema=tables.WINDOWS)
        tables.write(out_dir / f"split={split}" / "part-0.parquet", table, tables.WINDOWS)
        first_id += len(found)
    return {}


def files_of(stages: Sequence[Artifact]) -> dict[str, bytes]:
    """The weights and the metrics of trained stages."""
    return {
        f"{stage.fingerprint}/{name}": (stage.path / name).read_bytes()
        for stage in stages
        for name in ("trainable.safetensors", "metrics.jsonl")
    }


def started(work: Callable[..., None], *arguments: object) -> Any:
    """A process at work.

    It is a fork of one that has everything imported and has computed nothing, so that no second
    goes by before it begins. The working folder has to be the one that `tests` lies in.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", __name__])
    process = context.Process(target=work, args=arguments)
    process.start()
    return process


def train_quietly(case: Case, execution: Execution) -> None:
    logger.remove()
    case.train(execution)
