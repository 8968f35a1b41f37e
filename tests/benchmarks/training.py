"""The seconds of a training step, ours or the plain way's; prints them as JSON.

`python -m tests.benchmarks.training WAY STAGE SCALE DATA_DIR FOLDER`, run by `python -m
tests.benchmarks`. All ways take their steps on the same windows. The plain way is that of the
reference code: every occurrence of a message encoded, logits at every position, micro-batches of
four, and torch's own dropout.
"""

import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loguru import logger
from torch import nn

from logllm_core import progress
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.model import backbones, devices
from logllm_core.model.backbones import Loading, find_backbones
from logllm_core.model.batches import Collator
from logllm_core.model.dropout import BITS, QuickDropout
from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import TokenizedVocabulary
from logllm_core.progress import Advance
from logllm_core.store.store import Store
from logllm_core.training.checkpoint import Checkpoints
from logllm_core.training.gradients import TrainingMaterial
from logllm_core.training.process_team import Team
from logllm_core.training.recipes import Recipe, Stage, recipe_named
from logllm_core.training.stage_plan import Execution
from logllm_core.training.stage_run import StageRun, set_trainable
from tests.benchmarks.alone import Figures
from tests.benchmarks.material import SCALES, SEED, Prepared, Scale, bgl_windows
from tests.model.plain import plain_loss

CPU = torch.device("cpu")
BACKBONES = "small"
NUM_PLAIN_MICRO_BATCH = 4  # windows, as the reference code has it
Change = Callable[[StageRun], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to train and to score."""

    is_plain: bool = False
    is_compiled: bool = False
    dtype: torch.dtype | None = None  # None: the fastest on this processor


WAYS = {
    "ours": Way(),
    "ours_compiled": Way(is_compiled=True),
    "plain_float32": Way(is_plain=True, dtype=torch.float32),
    "plain_bfloat16": Way(is_plain=True, dtype=torch.bfloat16),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A loaded model, and its reading of a log's messages."""

    model: LogLLM
    collator: Collator
    vocabulary: TokenizedVocabulary
    dtype: torch.dtype


class Laps:
    """A display that shows nothing and takes the time of each advance."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextmanager
    def track(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        begun = time.perf_counter()

        def advance(amount: int) -> None:
            nonlocal begun
            now = time.perf_counter()
            if amount:
                self.seconds.append(now - begun)
            begun = now

        yield advance


def load(data_dir: Path, texts: list[str], way: Way, recipe: Recipe) -> Ready:
    """The small backbones, untrained, kept below `data_dir`."""
    dtype = way.dtype or devices.fastest_dtype(CPU)
    torch.manual_seed(SEED)
    loaded = backbones.load_backbones(
        find_backbones(Store(data_dir=data_dir), BACKBONES),
        Loading(
            quantization=recipe.quantization, device=CPU, dtype=dtype, is_compiled=way.is_compiled
        ),
    )
    vocabulary = TokenizedVocabulary(
        texts, loaded.encoder_tokenizer, max_message_tokens=recipe.max_message_tokens
    )
    collator = Collator(
        prompt=loaded.model.prompt,
        vocabulary=vocabulary,
        max_window_messages=recipe.max_window_messages,
    )
    return Ready(model=loaded.model, collator=collator, vocabulary=vocabulary, dtype=dtype)


def recipe_of(scale: Scale) -> Recipe:
    """The paper's, a batch in one piece, and not in 4 bits, which are slower on a CPU."""
    sizes = {"batch_size": scale.num_windows, "micro_batch_size": scale.num_windows}
    return recipe_named("paper").overridden({**sizes, "quantization": "none"})


def measure(
    way: Way, stage_name: str, scale: Scale, data_dir: Path, folder: Path, change: Change | None
) -> Figures:
    """Seconds of a step, the median without the first; memory since the model was loaded.

    Args:
        change: made to our run before it begins.
    """
    prepared = bgl_windows(Store(data_dir=folder), scale)
    recipe = recipe_of(scale)
    (stage,) = (found for found in recipe.stages if found.name == stage_name)
    ready = load(data_dir, prepared.texts, way, recipe)
    windows = chosen(prepared, scale)
    if way.is_plain:
        seconds, peak = take_plain_steps(ready, stage, recipe, windows, scale.num_plain_steps + 1)
    else:
        seconds, peak = take_steps(ready, stage, recipe, windows, scale.num_steps + 1, change)
    median = statistics.median(seconds[1:])
    return {
        "seconds": median,
        "windows_per_second": scale.num_windows / median,
        "first_step_seconds": seconds[0],
        "num_steps": len(seconds) - 1,
        "dtype": str(ready.dtype).removeprefix("torch."),
        "peak_memory_bytes": peak,
    }


def chosen(prepared: Prepared, scale: Scale) -> Windows:
    """The windows of a step."""
    found = prepared.train
    places = random.Random(SEED).sample(range(len(found)), scale.num_windows)
    assert found.is_anomalous is not None
    return Windows(
        window_ids=found.window_ids[places],
        message_ids=[found.message_ids[place] for place in places],
        is_anomalous=found.is_anomalous[places],
    )


def take_steps(
    ready: Ready,
    stage: Stage,
    recipe: Recipe,
    windows: Windows,
    num_steps: int,
    change: Change | None,
) -> tuple[list[float], int]:
    """Seconds of each step of the training itself, and its peak memory."""
    material = TrainingMaterial(
        train=windows,
        validation=None,
        collator=ready.collator,
        batches=[np.arange(len(windows))] * num_steps,
        vectors=None,
    )
    laps = Laps()
    progress.display.set(laps)
    with tempfile.TemporaryDirectory() as folder:
        run = StageRun(
            ready.model,
            material,
            stage,
            recipe,
            team=Team(rank=0, num_processes=1, device=CPU),
            checkpoints=Checkpoints(folder=Path(folder), made_for={}),
            execution=Execution(checkpoint_minutes=math.inf),
        )
        if change:
            change(run)
        results = run.run()
    return laps.seconds, results["peak_memory_bytes"]


def take_plain_steps(
    ready: Ready, stage: Stage, recipe: Recipe, windows: Windows, num_steps: int
) -> tuple[list[float], int]:
    """The same by the plain statement of the model."""
    assert windows.is_anomalous is not None
    labels = windows.is_anomalous.tolist()
    parameters = set_trainable(ready.model, stage, recipe)
    use_torch_dropout(ready.model)
    optimizer = torch.optim.AdamW(parameters.values(), lr=stage.learning_rate)
    starts = range(0, len(windows), NUM_PLAIN_MICRO_BATCH)
    seconds = []
    devices.begin_peak_memory(CPU)
    for _ in range(num_steps):
        begun = time.perf_counter()
        optimizer.zero_grad()
        for start in starts:
            part = slice(start, start + NUM_PLAIN_MICRO_BATCH)
            loss = plain_loss(
                ready.model, ready.vocabulary, windows.message_ids[part], labels[part]
            )
            (loss / len(starts)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
    return seconds, peak_bytes()


def peak_bytes() -> int:
    """Of this process, since its model was loaded."""
    return devices.peak_memory(CPU).ram_bytes


def use_torch_dropout(model: LogLLM) -> None:
    """Put the adapters' usual dropout in the place of ours, on where ours is on."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, QuickDropout):
                dropout = nn.Dropout(child.num_dropped / (1 << BITS))
                setattr(module, name, dropout.train(child.training))


def main() -> None:
    way, stage_name, scale, data_dir, folder = sys.argv[1:]
    logger.remove()
    figures = measure(
        WAYS[way], stage_name, SCALES[scale], Path(data_dir), Path(folder), change=None
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
