"""Variants in processes of their own, as many at once as there are cards; one on a CPU.

A process a variant: what one leaves in memory, or dies of, is not the next one's. The processes end
with the one that started them, even where that is killed with -9; what they had finished is in the
store, and half a stage is in its checkpoints.
"""

import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger
from pydantic import TypeAdapter

from logllm_core.errors import LogLLMError
from logllm_core.model.devices import card_uuid, devices_of, num_cards
from logllm_core.paper.experiments.run_variant import Job, find_run, run_variant
from logllm_core.progress import Relay
from logllm_core.signals import noted_interruptions
from logllm_core.store.store import Artifact, Store
from logllm_core.training.launch import (
    ORDER,
    OUTPUT,
    POLL_SECONDS,
    Launched,
    hear_of_work,
    killed_by,
    show_end,
    started,
    tell_of_work,
    worker,
)

MODULE = "logllm_core.paper.experiments.ablation_processes"
ORDER_JSON = TypeAdapter(tuple[Store, Job])  # what a process reads
Outcome = Artifact | str  # a variant's run, or why there is none
Cards = tuple[str, ...]  # that one process sees; none: it sees what this one sees


@dataclass(frozen=True, kw_only=True, slots=True)
class _Variant:
    """A variant that a process is at work on."""

    number: int  # of its job
    cards: Cards
    process: Launched
    resources: ExitStack


def run_all(store: Store, jobs: Sequence[Job]) -> list[Outcome]:
    """The run of each job, or why there is none; what one says stops no other.

    Called from the main thread, it passes SIGTERM and SIGINT on, waits for the processes to save
    and stop, and then gives the signal to whoever handled it before.

    Args:
        jobs: the recipe itself first.

    Raises:
        LogLLMError: it was asked to stop, and whoever handles that let it live.
    """
    known = {number: _find(store, job) for number, job in enumerate(jobs)}
    outcomes = {number: run for number, run in known.items() if run is not None}
    waiting = deque(number for number in range(len(jobs)) if number not in outcomes)
    logger.info("{:,} variants, {:,} of them to be run", len(jobs), len(waiting))
    free = _groups_of_cards(jobs[0].execution.num_processes)
    with noted_interruptions() as interruption, ExitStack() as in_any_case:
        at_work: list[_Variant] = []
        while at_work or (waiting and not interruption.is_noted):
            while waiting and free and not interruption.is_noted:
                number = waiting.popleft()
                resources = in_any_case.enter_context(ExitStack())
                at_work.append(_start(store, jobs[number], number, free.pop(), resources))
            time.sleep(POLL_SECONDS)
            for variant in at_work.copy():
                variant.process.heed(interruption)
                if variant.process.has_ended():
                    outcomes[variant.number] = _outcome(variant.process)
                    free.append(variant.cards)
                    at_work.remove(variant)
                    variant.resources.close()
        if interruption.is_noted:
            interruption.pass_on()
    _find(store, jobs[0])  # the views show the predictions that were asked for last
    for number, job in enumerate(jobs):
        if isinstance(why_not := outcomes[number], str):
            logger.warning("{} was not run: {}", job.name, why_not)
    return [outcomes[number] for number in range(len(jobs))]


def _find(store: Store, job: Job) -> Outcome | None:
    try:
        return find_run(store, job)
    except LogLLMError as fault:
        return str(fault)


def _groups_of_cards(num_processes: int) -> list[Cards]:
    """The cards that each variant has to itself, for as many variants as there are cards for."""
    cards = [card for card in devices_of(num_cards()) if card.type == "cuda"]
    uuids = [f"GPU-{card_uuid(card)}" for card in cards]
    whole = len(uuids) - len(uuids) % num_processes
    groups = [
        tuple(uuids[start : start + num_processes]) for start in range(0, whole, num_processes)
    ]
    return groups or [()]  # too few cards: the training says so


def _start(store: Store, job: Job, number: int, cards: Cards, resources: ExitStack) -> _Variant:
    """Have a process begin that ends with `resources`; what it tells bears the variant's name."""
    logger.info("{}: begins{}", job.name, f" on {', '.join(cards)}" if cards else "")
    relay = resources.enter_context(Relay())
    seen = ["env", f"CUDA_VISIBLE_DEVICES={','.join(cards)}"] if cards else []

    def hear(event: dict[str, Any]) -> None:
        words = {key: event[key] for key in ("message", "description") if key in event}
        hear_of_work(event | {key: f"{job.name}: {text}" for key, text in words.items()}, relay)

    process = resources.enter_context(
        started(
            job.name,
            lambda folder: [*seen, sys.executable, "-m", MODULE, folder],
            ORDER_JSON.dump_json((store, job)),
            hear=hear,
        )
    )
    return _Variant(number=number, cards=cards, process=process, resources=resources)


def _outcome(process: Launched) -> Outcome:
    """How a variant came out, once its process has ended."""
    if "results" in process.ending:
        return TypeAdapter(Artifact).validate_python(process.ending["results"])
    if "error" in process.ending:
        return str(process.ending["error"])
    if "stopped" in process.ending:
        return "its process was asked to stop; the same command goes on from its checkpoint"
    show_end(process.folder / OUTPUT)
    code = process.process.returncode
    if code < 0:
        return f"its process {killed_by(code)}"
    return f"its process failed with exit code {code}, as printed on standard error"


def main() -> None:
    """In the process of one variant."""
    folder = Path(sys.argv[1])
    with worker(folder) as tell:
        tell_of_work(tell)
        store, job = ORDER_JSON.validate_json((folder / ORDER).read_bytes())
        run = run_variant(store, job)
        tell({"results": TypeAdapter(Artifact).dump_python(run, mode="json")})


if __name__ == "__main__":
    main()
