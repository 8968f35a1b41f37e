"""The files of a log, read side by side: one task a shard, on threads, processes or a Ray cluster.

A shard is a share of the files; each file becomes a part of its own, so the outcome does not depend
on who read what.
"""

import heapq
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loguru import logger
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from flows.data_settings import PrepareSettings, RunnerName
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages import file_messages
from logllm_core.logs.sources.raw_log import RawFile, log_files
from logllm_core.store.intact_files import is_whole
from logllm_core.store.store import Artifact
from tasks import step_tasks


def build_parts(
    settings: PrepareSettings, dataset: Dataset, raw: Artifact, *, is_masked: bool
) -> list[Artifact]:
    """The part of each raw file, in the order of the files."""
    store, runner, files = settings.store, settings.runner, log_files(raw)
    shards = into_shards(files, settings.num_shards or os.cpu_count() or 1)
    if len(shards) == 1 and runner == "threads":
        return step_tasks.run(
            file_messages.build_parts, store, dataset, raw, files, is_masked=is_masked
        )
    # Elsewhere, another folder is the working one.
    store = replace(store, data_dir=store.data_dir.absolute())
    raw = replace(raw, path=raw.path.absolute())
    parameters = {"store": store, "dataset": dataset, "raw": raw, "is_masked": is_masked}
    read = step_tasks.as_task(file_messages.build_parts)
    built: dict[RawFile, Artifact] = {}
    with RUNNERS[runner](len(shards)) as started:
        futures = [started.submit(read, {**parameters, "files": shard}) for shard in shards]
        for shard, future in zip(shards, futures, strict=True):
            built |= zip(shard, future.result(), strict=True)
    # What another machine built comes from the remote; without one it is built here once more.
    missing = [file for file in files if not is_whole(built[file].path)]
    if missing:
        logger.warning("{:,} of {:,} parts were built elsewhere", len(missing), len(files))
        fetched = step_tasks.run(
            file_messages.build_parts, store, dataset, raw, missing, is_masked=is_masked
        )
        built |= zip(missing, fetched, strict=True)
    return [built[file] for file in files]


def into_shards(files: Sequence[RawFile], num_shards: int) -> list[list[RawFile]]:
    """Shares of about the same size: the largest file first, each to the smallest share so far."""
    shards: list[list[RawFile]] = [[] for _ in range(min(num_shards, len(files)))]
    smallest_first = [(0, 0, number) for number in range(len(shards))]  # bytes, files
    for file in sorted(files, key=lambda file: -file.size_bytes):
        num_bytes, num_files, number = smallest_first[0]
        shards[number].append(file)
        grown = (num_bytes + file.size_bytes, num_files + 1, number)
        heapq.heapreplace(smallest_first, grown)
    return shards


def _ray(num_shards: int) -> TaskRunner[Any]:
    """The cluster that RAY_ADDRESS names, or one on this machine for the while."""
    try:
        from prefect_ray import RayTaskRunner
    except ImportError:
        raise LogLLMError(
            "The runner ray needs a package that is not installed. Install it with pip install -e "
            "'.[ray]' -c constraints.txt, or choose --runner threads or processes."
        ) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    started: TaskRunner[Any] = RayTaskRunner(init_kwargs={"include_dashboard": False})
    return started


RUNNERS: Mapping[RunnerName, Callable[[int], TaskRunner[Any]]] = {
    "threads": lambda num_shards: ThreadPoolTaskRunner(max_workers=num_shards),
    "processes": lambda num_shards: ProcessPoolTaskRunner(
        max_workers=min(num_shards, os.cpu_count() or 1)
    ),
    "ray": _ray,
}
