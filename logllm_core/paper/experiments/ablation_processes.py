"""Variants in processes of their own, as many at once as there are cards; one on a CPU.

A process a variant: what one leaves in memory, or dies of, is not the next one's. The processes end
with the one that started them, even where that is killed with -9; what they had finished is in the
store, and half a stage is in its checkpoints.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any, BinaryIO

from loguru import logger
from pydantic import TypeAdapter

from logllm_core.errors import LogLLMError
from logllm_core.model.devices import card_uuid, devices_of, num_cards
from logllm_core.paper.experiments.run_variant import Job, find_run
from logllm_core.progress import Relay
from logllm_core.signals import StoppedError
from logllm_core.store.store import Artifact, Store
from logllm_core.training.launch import (
    ALIVE,
    EVENTS,
    IMPATIENT,
    OUTPUT,
    POLL_SECONDS,
    deferred_signals,
    hear_of_work,
    new_events,
    show_end,
)

WORKER = "logllm_core.paper.experiments.ablation_worker"
ORDER = "order.json"
Outcome = Artifact | str  # a variant's run, or why there is none
Cards = tuple[str, ...]  # that one process sees; none: it sees what this one sees


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a process reads."""

    store: Store
    job: Job


@dataclass(kw_only=True, slots=True)
class _Worker:
    """A process at work on a variant."""

    place: int  # of its job
    name: str
    cards: Cards
    folder: Path
    process: subprocess.Popen[bytes]
    events: BinaryIO
    relay: Relay
    resources: ExitStack
    is_stopping: bool = False
    told: dict[str, Any] = field(default_factory=dict)  # how it ended

    def hear(self) -> None:
        """Pass on what it told, under the variant's name."""
        for event in new_events(self.events):
            if event.keys() & {"run", "error", "stopped"}:
                self.told |= event
                continue
            named = {
                key: f"{self.name}: {event[key]}"
                for key in ("message", "description")
                if key in event
            }
            hear_of_work(event | named, self.relay)

    def outcome(self) -> Outcome:
        """How it came out, once it has ended."""
        if "run" in self.told:
            return TypeAdapter(Artifact).validate_python(self.told["run"])
        if "error" in self.told:
            return str(self.told["error"])
        if "stopped" in self.told:
            return "its process was asked to stop; the same command goes on from its checkpoint"
        show_end(self.folder / OUTPUT)
        code = self.process.returncode
        if code < 0:
            reason = " (often: no memory was left)" if code == -signal.SIGKILL else ""
            return f"its process was killed by {signal.Signals(-code).name}{reason}"
        return f"its process failed with exit code {code}, as printed on standard error"


def run_all(store: Store, jobs: Sequence[Job]) -> list[Outcome]:
    """The run of each job, or why there is none; what one says stops no other.

    Called from the main thread, it passes SIGTERM and SIGINT on, waits for the processes to save
    and stop, and then gives the signal to whoever handled it before.

    Args:
        jobs: the recipe itself first.

    Raises:
        LogLLMError: it was asked to stop, and whoever handles that let it live.
    """
    outcomes = {
        place: found for place, job in enumerate(jobs) if (found := _find(store, job)) is not None
    }
    waiting = deque(place for place in range(len(jobs)) if place not in outcomes)
    logger.info("{:,} variants, {:,} of them to be run", len(jobs), len(waiting))
    free = _groups_of_cards(jobs[0].execution.num_processes)
    with deferred_signals() as signals, _ended_in_any_case() as running:
        while running or (waiting and not signals):
            while waiting and free and not signals:
                place = waiting.popleft()
                running.append(_start(store, jobs[place], place, free.pop()))
            _stop(running, signals)
            time.sleep(POLL_SECONDS)
            for worker in filter(_has_ended, running.copy()):
                outcomes[worker.place] = worker.outcome()
                free.append(worker.cards)
                running.remove(worker)
                worker.resources.close()
    if signals:
        raise StoppedError
    _find(store, jobs[0])  # the views show the predictions that were asked for last
    for place, job in enumerate(jobs):
        if isinstance(why_not := outcomes[place], str):
            logger.warning("{} was not run: {}", job.name, why_not)
    return [outcomes[place] for place in range(len(jobs))]


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


@contextmanager
def _ended_in_any_case() -> Iterator[list[_Worker]]:
    running: list[_Worker] = []
    try:
        yield running
    finally:
        for worker in running:  # after an exception here
            worker.process.kill()
            worker.resources.close()


def _start(store: Store, job: Job, place: int, cards: Cards) -> _Worker:
    logger.info("{}: begins{}", job.name, f" on {', '.join(cards)}" if cards else "")
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="logllm-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        order = Order(store=store, job=job)
        (folder / ORDER).write_bytes(TypeAdapter(Order).dump_json(order))
        alive = stack.enter_context((folder / ALIVE).open("wb"))
        flock(alive, LOCK_EX)  # by this process alone: the worker inherits no descriptor
        output = stack.enter_context((folder / OUTPUT).open("wb"))
        events = stack.enter_context((folder / EVENTS).open("w+b"))
        seen = ["env", f"CUDA_VISIBLE_DEVICES={','.join(cards)}"] if cards else []
        # A session of its own keeps the terminal's Ctrl-C away, which would leave no time to save.
        process = stack.enter_context(
            subprocess.Popen(  # noqa: S603
                [*seen, sys.executable, "-m", WORKER, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        relay = stack.enter_context(Relay())
        return _Worker(
            place=place,
            name=job.name,
            cards=cards,
            folder=folder,
            process=process,
            events=events,
            relay=relay,
            resources=stack.pop_all(),
        )


def _stop(running: Sequence[_Worker], signals: Sequence[int]) -> None:
    """Ask each once to save and stop; where a person will not wait, end it."""
    for worker in running:
        if signals and not worker.is_stopping:
            worker.is_stopping = True  # a second signal would cut its saving short
            logger.info("Waiting for {} to save and stop", worker.name)
            worker.process.terminate()
        if signals.count(signal.SIGINT) >= IMPATIENT:
            worker.process.kill()


def _has_ended(worker: _Worker) -> bool:
    has_ended = worker.process.poll() is not None  # asked first: no event comes after the end
    worker.hear()
    return has_ended
