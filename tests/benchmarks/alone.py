"""A measurement in a process of its own, because memory is a process' high-water mark."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Figures = dict[str, Any]


def run_alone(
    module: str, *arguments: object, environment: dict[str, str] | None = None
) -> Figures:
    """What `python -m tests.benchmarks.MODULE` prints as JSON.

    Args:
        environment: variables besides those of this process.
    """
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | (environment or {}),
    )
    figures: Figures = json.loads(done.stdout)
    return figures
