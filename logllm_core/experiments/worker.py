"""A process at work on one variant; `side_by_side.run_all` starts it."""

import sys
from pathlib import Path

from loguru import logger
from pydantic import TypeAdapter

from logllm_core.experiments.ablating import run_variant
from logllm_core.experiments.side_by_side import ORDER, Order
from logllm_core.store import Artifact
from logllm_core.training import processes


def main() -> None:
    folder = Path(sys.argv[1])
    with processes.worker(folder) as tell:
        logger.remove()
        processes.stop_when_told(tell)
        processes.tell_of_work(tell)
        order = TypeAdapter(Order).validate_json((folder / ORDER).read_bytes())
        run = run_variant(order.store, order.job)
        tell({"run": TypeAdapter(Artifact).dump_python(run, mode="json")})


if __name__ == "__main__":
    main()
