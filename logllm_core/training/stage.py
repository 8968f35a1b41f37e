"""One training stage: from a model and labelled windows to trained weights in the store."""

import shutil
from pathlib import Path

from loguru import logger
from pydantic import TypeAdapter

from logllm_core.errors import LogLLMError
from logllm_core.model import gpu_locks
from logllm_core.model.devices import devices_of, explained_shortage
from logllm_core.progress import Relay
from logllm_core.signals import StoppedError
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training import launch
from logllm_core.training.checkpoint import checkpoints_beside
from logllm_core.training.plan import Execution, Order, StagePlan, check_shares
from logllm_core.training.work import work

VERSION = 3
ALONE = Execution()
WORKER = "logllm_core.training.worker"


def train_stage(store: Store, plan: StagePlan, execution: Execution = ALONE) -> Artifact:
    """Train one stage on the training split; the test split is never read.

    What a run that was cut off left in its checkpoints is gone on from.

    Raises:
        LogLLMError: more processes than a batch has work for, no labels, one class only, a loss
            that is not finite, not enough memory, a checkpoint of another training, or a process
            that was killed.
    """
    check_shares(plan.recipe, execution.num_processes)

    def build(out_dir: Path) -> dict[str, Json]:
        order = Order(
            plan=plan,
            execution=execution,
            version=VERSION,
            out_dir=out_dir,
            checkpoints_dir=checkpoints_beside(out_dir),
        )
        # All cards are claimed here: processes that each wait for their own could wait for ever.
        with gpu_locks.claim(*devices_of(execution.num_processes)), explained_shortage():
            is_alone = execution.num_processes == 1
            results = work(order, launch.alone()) if is_alone else _work_together(order)
        logger.info(
            "{} stage {}: {} steps, loss {:.4f} -> {:.4f}",
            *(plan.dataset, plan.stage.name, results["num_steps"]),
            *(results["first_loss"], results["last_loss"]),
        )
        return results

    artifact = store.reuse_or_build(
        "models",
        plan.dataset,
        config=plan.config,
        inputs=plan.inputs,
        version=VERSION,
        build=build,
    )
    # Only now that the artifact is in its place: a kill before this loses no step.
    shutil.rmtree(checkpoints_beside(artifact.path), ignore_errors=True)
    return artifact


def find_stage(store: Store, plan: StagePlan) -> Artifact:
    """The trained stage that `train_stage` would reuse.

    Raises:
        LogLLMError: it has not been trained.
    """
    found = store.find(
        "models", plan.dataset, config=plan.config, inputs=plan.inputs, version=VERSION
    )
    if found is None:
        raise LogLLMError(
            f"Stage {plan.stage.name} of {plan.dataset} has not been trained with these settings. "
            f"Train it first: logllm train {plan.dataset}, with the same options."
        )
    return found


def _work_together(order: Order) -> dict[str, Json]:
    """Train in several processes, and show here what the first of them tells."""
    path = order.out_dir / "order.json"
    path.write_bytes(TypeAdapter(Order).dump_json(order))
    results: dict[str, Json] = {}
    with Relay() as relay:

        def hear(event: dict[str, Json]) -> None:
            if "results" in event:
                results.update(event["results"])
            else:
                launch.hear_of_work(event, relay)

        launch.launch(
            WORKER, [str(path)], num_processes=order.execution.num_processes, on_event=hear
        )
    path.unlink()
    if not results:  # stopped by a signal whose handler lets this process live
        raise StoppedError
    return results
