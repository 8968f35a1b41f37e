"""Log lines are written once, with loguru; here they reach the terminal and Prefect's runs."""

import atexit
import logging
import os
import sys
from typing import TYPE_CHECKING

from loguru import logger
from rich.console import Console

from flows.terminal_text import legible_lines

if TYPE_CHECKING:
    from loguru import Message

HUSHED = (
    # Advises, at every import on a CPU, to install a package that fetches code from a hub.
    "bitsandbytes.backends.cpu.ops",
    "matplotlib",  # advises where to keep its cache, where nothing can be written to HOME
)

console = Console(stderr=True, soft_wrap=True)
_sinks: dict[str, int] = {}


def log_to_terminal() -> None:
    """Show log lines on standard error, above a progress bar where there is one."""
    _start()
    if "terminal" not in _sinks:
        _sinks["terminal"] = logger.add(_print, format="{time:HH:mm:ss}  {message}", level="INFO")


def log_to_prefect() -> None:
    """Send log lines to the run that writes them. Every flow calls this first."""
    _start()
    if "prefect" not in _sinks:
        _sinks["prefect"] = logger.add(_to_run, format="{message}", level="INFO")


def _start() -> None:
    if not _sinks:
        atexit.unregister(silence_the_end)
        atexit.register(silence_the_end)
        logger.remove()  # loguru's own handler for standard error
        for name in HUSHED:
            logging.getLogger(name).setLevel(logging.ERROR)


def _print(message: "Message") -> None:
    text = legible_lines(message)  # it may quote a log, or name a file
    if sys.stderr.isatty():
        console.print(text.rstrip("\n"), markup=False, highlight=False)
    else:
        sys.stderr.write(text)


def _to_run(message: "Message") -> None:
    # Only where a flow runs: Prefect makes its home when it is imported, and takes seconds.
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    record = message.record
    try:
        run_logger = get_run_logger()
    except MissingContextError:  # outside of any run
        return
    run_logger.log(record["level"].no, "%s", legible_lines(record["message"]))


def silence_the_end() -> None:
    """Nothing of ours is left to be said when the interpreter takes itself apart.

    DuckDB's bindings then list their own types as leaked wherever one of Prefect's threads still
    holds a module.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
