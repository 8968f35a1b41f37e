"""A process of several that train a stage together; `stage.train_stage` has it launched."""

import sys
from pathlib import Path

from loguru import logger
from pydantic import TypeAdapter

from logllm_core.training import launch
from logllm_core.training.plan import Order
from logllm_core.training.work import work


def main() -> None:
    folder, order_path = map(Path, sys.argv[1:])
    with launch.worker(folder) as tell:
        logger.remove()
        launch.stop_when_told(tell)
        order = TypeAdapter(Order).validate_json(order_path.read_bytes())
        team = launch.join()
        if team.is_first:
            launch.tell_of_work(tell)
        results = work(order, team)
        if team.is_first:
            tell({"results": results})


if __name__ == "__main__":
    main()
