"""A program that launches processes and is interrupted by the tests; prints what it is told."""

import json
import signal
import sys
from types import FrameType
from typing import Any

from logllm_core.signals import StoppedError
from logllm_core.training import launch


def say(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def handle(signum: int, frame: FrameType | None) -> None:
    say({"handled": signum})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    order = json.dumps(sys.argv[1:]).encode()
    try:
        launch.run_together("tests.training.launched", order, num_processes=2, hear=say)
    except StoppedError:
        say({"launched": "stopped"})
