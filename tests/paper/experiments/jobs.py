"""Jobs by hand; run as a program, it runs those of its arguments and prints what it hears."""

import sys
from pathlib import Path

from loguru import logger

from logllm_core.paper.experiments import ablation_processes
from logllm_core.paper.experiments.run_variant import Job
from logllm_core.pipeline import Prepared
from logllm_core.store.store import Artifact, Kind, Store
from logllm_core.training.stage_plan import Execution
from tests.paper.experiments.setups import setup_of

ACTING = "tests.paper.experiments.acting"


def job(name: str, data_dir: Path, *, num_processes: int = 1) -> Job:
    """Windows that nobody reads, and backbones that nobody loads or asks how they pool."""

    def artifact(kind: Kind) -> Artifact:
        return Artifact(kind=kind, dataset="bgl", fingerprint="ab" * 8, path=data_dir / kind)

    return Job(
        name=name,
        setup=setup_of("quick", changes={"pooling": "mean"}, backbones="encoder,decoder"),
        prepared=Prepared(
            raw=artifact("raw"), messages=artifact("messages"), windows=artifact("windows")
        ),
        execution=Execution(num_processes=num_processes),
    )


if __name__ == "__main__":
    data_dir = Path(sys.argv[1])
    logger.remove()
    logger.add(lambda message: print(message.record["message"], flush=True))
    ablation_processes.MODULE = ACTING
    ablation_processes.run_all(
        Store(data_dir=data_dir), [job(name, data_dir) for name in sys.argv[2:]]
    )
