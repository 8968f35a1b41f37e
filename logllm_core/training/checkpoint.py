"""Checkpoints of a stage under way: what it takes to go on bit for bit after a `kill -9`.

A checkpoint is the folder `step-00000120`: trainable weights, the optimiser's state and the best
weights so far in safetensors (nothing is ever unpickled), the rest in JSON, checksums over all of
it. It is written beside, read back, and renamed; only then is the last but one removed.

Random numbers, the learning rate and the sampler's position need no state of their own: each step
derives them from the seed and its number (`logllm_core.training.stage_run`).
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from logllm_core.errors import LogLLMError
from logllm_core.store.disk import BUILDING, whole_folder
from logllm_core.store.intact_files import sha256_of

STATE, CHECKSUMS = "state.json", "checksums.json"
NUM_KEPT = 2  # the newest, and the one before in case the newest is found damaged
Tensors = Mapping[str, Mapping[str, Tensor]]  # by the name of their file


class Best(BaseModel):
    """The best validation so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    step: int
    pr_auc: float


class Progress(BaseModel):
    """How far a stage is, at the end of a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    step: int = 0  # steps that are done
    micro_batch_size: int
    seconds: float = 0.0  # of training that led here; work that was lost is not in it
    num_resumes: int = 0
    peak_memory_bytes: int = 0
    peak_gpu_memory_bytes: int = 0
    best: Best | None = None
    num_validations_without_gain: int = 0


class State(BaseModel):
    """What `state.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    made_for: dict[str, Any]
    progress: Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    path: Path
    state: State

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.path / f"{name}.safetensors")

    def text(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoints:
    """The checkpoints of one stage.

    Args:
        folder: holds nothing else that begins with "step-".
        made_for: settings, data and backbones, as JSON: a checkpoint of others is refused.
    """

    folder: Path
    made_for: Mapping[str, Any]

    def save(self, progress: Progress, tensors: Tensors, texts: Mapping[str, str]) -> Path:
        """Write a checkpoint; the one before stays, those before that go.

        Raises:
            OSError, SafetensorError, ValueError: it cannot be written, or not be read back; the
                checkpoints before it are still there.
        """
        path = self.folder / f"step-{progress.step:08d}"
        if path.exists():  # the training stopped here before, and went on from it
            with suppress(OSError, ValueError):
                _check(path)
                return path
        for leftover in self.folder.glob(f".step-*{BUILDING}"):
            shutil.rmtree(leftover)
        with whole_folder(path) as beside:
            for name, content in tensors.items():
                save_file(dict(content), beside / f"{name}.safetensors")
            for name, text in texts.items():
                (beside / name).write_text(text, encoding="utf-8")
            state = State(made_for=dict(self.made_for), progress=progress)
            (beside / STATE).write_text(state.model_dump_json(indent=1), encoding="utf-8")
            sums = {path.name: sha256_of(path) for path in sorted(beside.iterdir())}
            (beside / CHECKSUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")
            _check(beside)
            for damaged in self._newest_first():  # passed over, or this would not be the newest
                if damaged.name >= path.name:
                    shutil.rmtree(damaged)
        for older in self._newest_first()[NUM_KEPT:]:
            shutil.rmtree(older)
        return path

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; damaged ones are named and passed over.

        Raises:
            LogLLMError: it was made for other settings, data or backbones; says what differs.
        """
        for path in self._newest_first():
            try:
                state = _check(path)
            except (OSError, ValueError) as fault:
                logger.warning("Checkpoint {} is damaged and passed over: {}", path, fault)
                continue
            differing = list(_differences(state.made_for, _as_json(self.made_for)))
            if differing:
                raise LogLLMError(
                    f"The checkpoint {path} was made for another training: "
                    f"{'; '.join(differing)}. Train with those settings, or remove {self.folder} "
                    "to begin anew."
                )
            return Checkpoint(path=path, state=state)
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def checkpoints_beside(path: Path) -> Path:
    """Where the checkpoints of an artifact lie, by its folder or the one that it is built in."""
    fingerprint = path.name.lstrip(".").partition(".")[0]
    return path.parent / f".{fingerprint}.checkpoints"


def _check(path: Path) -> State:
    """The state of a whole checkpoint.

    Raises:
        OSError, ValueError: a file is missing, or is not what was written.
    """
    sums = json.loads((path / CHECKSUMS).read_text(encoding="utf-8"))
    if not isinstance(sums, dict) or STATE not in sums:
        raise ValueError(f"{CHECKSUMS} does not list {STATE}")
    for name, wanted in sums.items():
        if sha256_of(path / Path(str(name)).name) != wanted:
            raise ValueError(f"{name} does not have the checksum that was written with it")
    try:
        return State.model_validate_json((path / STATE).read_bytes())
    except ValidationError as fault:
        raise ValueError(f"{STATE} is of another version: {fault.error_count()} faults") from None


def _differences(saved: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """What differs between two JSON values, with the keys that lead to it."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        for key in sorted(saved.keys() | wanted.keys()):
            inner = f"{path}.{key}" if path else key
            yield from _differences(saved.get(key), wanted.get(key), inner)
    elif saved != wanted:
        yield f"{path} is {json.dumps(saved)} there and {json.dumps(wanted)} here"


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from a file: tuples are lists there."""
    content: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return content
