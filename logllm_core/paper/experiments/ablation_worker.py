"""A process at work on one variant; `side_by_side.run_all` starts it."""

import sys
from pathlib import Path

from loguru import logger
from pydantic import TypeAdapter

from logllm_core.paper.experiments.ablation_processes import ORDER, Order
from logllm_core.paper.experiments.run_variant import run_variant
from logllm_core.store.store import Artifact
from logllm_core.training import launch


def main() -> None:
    folder = Path(sys.argv[1])
    with launch.worker(folder) as tell:
        logger.remove()
        launch.stop_when_told(tell)
        launch.tell_of_work(tell)
        order = TypeAdapter(Order).validate_json((folder / ORDER).read_bytes())
        run = run_variant(order.store, order.job)
        tell({"run": TypeAdapter(Artifact).dump_python(run, mode="json")})


if __name__ == "__main__":
    main()
