"""The seconds of scoring, ours or the plain way's; prints them as JSON.

`python -m tests.benchmarks.scoring WAY WHAT SCALE DATA_DIR FOLDER [MIRROR]`, run by `python -m
tests.benchmarks`. The plain way generates an answer token by token for every window; it does so for
a slice of them, and its seconds are scaled to all.
"""

import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from loguru import logger

from logllm_core import progress
from logllm_core.model import devices
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import score_windows
from logllm_core.store.store import Store
from tests.benchmarks.alone import Figures
from tests.benchmarks.material import SCALES, SEED, Scale, hdfs_sample, repeating, simulated
from tests.benchmarks.training import CPU, WAYS, Laps, Ready, load, peak_bytes, recipe_of
from tests.model.plain import plain_answers

NUM_PLAIN_BATCH = 32  # windows
Sessions = list[tuple[int, ...]]


def sessions_of(
    what: str, scale: Scale, folder: Path, mirror: Path | None
) -> tuple[Sessions, list[str]]:
    """Windows and messages: `sample` or `repetition`."""
    store = Store(data_dir=folder)
    if what == "sample":
        assert mirror is not None
        prepared = hdfs_sample(store, mirror)
        return prepared.test.message_ids, prepared.texts
    prepared = simulated(store, "hdfs", scale.num_lines["hdfs"])
    return repeating(prepared.train, scale), prepared.texts


def score(ready: Ready, sessions: Sessions, scale: Scale) -> Figures:
    """All windows: the median of some runs, after one that warms up."""
    score_windows(ready.model, ready.collator, sample_of(sessions, scale))
    positions: list[int] = []

    def count(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        positions.append(kwargs["inputs_embeds"].shape[:2].numel())

    counter = ready.model.decoder.model.register_forward_pre_hook(count, with_kwargs=True)
    devices.begin_peak_memory(CPU)
    seconds = []
    for _ in range(scale.num_runs):
        positions.clear()
        begun = time.perf_counter()
        score_windows(ready.model, ready.collator, sessions)
        seconds.append(time.perf_counter() - begun)
    counter.remove()
    distinct = {session[: ready.collator.max_window_messages] for session in sessions}
    return {
        "seconds": statistics.median(seconds),
        "num_measured_windows": len(sessions),
        "num_distinct_windows": len(distinct),
        "num_positions": {  # of the decoder
            "computed": sum(positions),  # those padded among them
            "distinct_windows": num_positions(ready, list(distinct)),
            "all_windows": num_positions(ready, sessions),
        },
    }


def num_positions(ready: Ready, sessions: Sessions) -> int:
    """Of windows each on its own, not padded."""
    prompt, limit = ready.model.prompt, ready.collator.max_window_messages
    around = len(prompt.introduction) + len(prompt.question) + prompt.num_shared_answer_tokens
    return sum(around + min(len(session), limit) for session in sessions)


def score_plainly(ready: Ready, sessions: Sessions, scale: Scale) -> Figures:
    """A slice, after one batch that warms up; the seconds are those of as many as all."""
    set_trainable(ready.model, ())
    some = [session[: ready.collator.max_window_messages] for session in sample_of(sessions, scale)]
    plain_answers(ready.model, ready.vocabulary, some[:NUM_PLAIN_BATCH])
    devices.begin_peak_memory(CPU)
    begun = time.perf_counter()
    for start in range(0, len(some), NUM_PLAIN_BATCH):
        plain_answers(ready.model, ready.vocabulary, some[start : start + NUM_PLAIN_BATCH])
    taken = time.perf_counter() - begun
    return {"seconds": taken / len(some) * len(sessions), "num_measured_windows": len(some)}


def sample_of(sessions: Sessions, scale: Scale) -> Sessions:
    return random.Random(SEED).sample(sessions, min(scale.num_plain_sessions, len(sessions)))


def main() -> None:
    way, what, scale_name, data_dir, folder, *mirror = sys.argv[1:]
    logger.remove()
    progress.display.set(Laps())
    scale = SCALES[scale_name]
    sessions, texts = sessions_of(
        what, scale, Path(folder), next((Path(named) for named in mirror), None)
    )
    ready = load(Path(data_dir), texts, WAYS[way], recipe_of(scale))
    measure = score_plainly if WAYS[way].is_plain else score
    figures = measure(ready, sessions, scale)
    figures |= {
        "num_windows": len(sessions),
        "windows_per_second": len(sessions) / figures["seconds"],
        "dtype": str(ready.dtype).removeprefix("torch."),
        "peak_memory_bytes": peak_bytes(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
