"""What the launched processes of the tests do: the first word of their order says it."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from logllm_core.errors import LogLLMError
from logllm_core.training import launch
from logllm_core.training.launch import Tell
from logllm_core.training.process_team import Team, join, leave


def count(team: Team, tell: Tell, *arguments: str) -> None:
    print("noise")
    total = team.sum(torch.tensor([1.0, 10.0]) * (team.rank + 1))
    if team.is_first:
        tell({"total": total.tolist(), "device": str(team.device)})
        tell({"num_processes": team.num_processes, "arguments": arguments})
        for number in range(100):
            tell({"number": number, "text": "ä\n"})
        tell({"results": "counted"})
        with Path(sys.argv[1], launch.EVENTS).open("a") as events:
            events.write('{"half a line, as a kill leaves it')


def refuse(team: Team, tell: Tell) -> None:
    if not team.is_first:
        raise LogLLMError("No windows were found, at least one is wanted.")
    team.sum(torch.ones(1))


def crash(team: Team, tell: Tell) -> None:
    raise RuntimeError("nobody expected this")


def be_killed(team: Team, tell: Tell) -> None:
    if not team.is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    team.sum(torch.ones(1))


def train(team: Team, tell: Tell) -> None:
    """Until one is told to stop, at most a minute: where a test fails, nothing stays behind."""
    end = time.monotonic() + 60
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    tell({"pid": os.getpid(), "parent": os.getppid()})
    while team.sum(torch.tensor(len(signals))) == 0 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1)  # what saving takes
    if team.is_first:
        tell({"stopped": True})


def wait(team: Team, tell: Tell) -> None:
    """Die of a signal at once, without a word."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tell({"pid": os.getpid()})
    time.sleep(60)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    behaviour, *words = json.loads((folder / launch.ORDER).read_bytes())
    with launch.worker(folder) as tell_launch:
        globals()[behaviour](join(), tell_launch, *words)
        leave()
