"""What a variant's process does in the tests: its job's name says it."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from logllm_core.errors import LogLLMError
from logllm_core.training import launch
from logllm_core.training.launch import Tell


def succeed(tell: Tell, store: dict[str, Any]) -> None:
    run = {"kind": "runs", "dataset": "bgl", "fingerprint": "cd" * 8, "path": store["data_dir"]}
    tell({"level": "INFO", "message": f"sees {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}"})
    tell({"results": run})


def refuse(tell: Tell, store: dict[str, Any]) -> None:
    raise LogLLMError("Not enough memory: buy some.")


def crash(tell: Tell, store: dict[str, Any]) -> None:
    raise RuntimeError("nobody expected this")


def be_killed(tell: Tell, store: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train(tell: Tell, store: dict[str, Any]) -> None:
    """Until told to stop, at most a minute: where a test fails, nothing stays behind."""
    tell({"level": "INFO", "message": f"pid {os.getpid()}"})
    time.sleep(60)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    store, job = json.loads((folder / launch.ORDER).read_bytes())
    with launch.worker(folder) as tell_parent:
        globals()[job["name"].partition(" ")[0]](tell_parent, store)
