"""A process of several that train a stage together; `stage.train_stage` has it launched."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger
from pydantic import TypeAdapter

from logllm_core import progress
from logllm_core.training import processes
from logllm_core.training.plan import Order
from logllm_core.training.processes import Tell
from logllm_core.training.work import work

if TYPE_CHECKING:
    from loguru import Message


def main() -> None:
    folder, order_path = map(Path, sys.argv[1:])
    with processes.worker(folder) as tell:
        logger.remove()
        signal.signal(signal.SIGTERM, lambda *_: _stop(tell))
        order = TypeAdapter(Order).validate_json(order_path.read_bytes())
        team = processes.join()
        if team.is_first:
            logger.add(lambda message: _tell_log_line(tell, message), level="INFO")
            progress.display.set(progress.TellingDisplay(tell))
        results = work(order, team)
        if team.is_first:
            tell({"results": results})


def _stop(tell: Tell) -> None:
    """After a checkpoint, or before there was anything to keep."""
    tell({"stopped": True})
    sys.exit()


def _tell_log_line(tell: Tell, message: "Message") -> None:
    tell({"level": message.record["level"].name, "message": message.record["message"]})


if __name__ == "__main__":
    main()
