"""One training stage: from a model and labelled windows to trained weights in the store.

`python -m logllm_core.training.stage` is one of several processes that train a stage together.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from loguru import logger
from pydantic import TypeAdapter

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.model import gpu_locks
from logllm_core.model.batches import Collator
from logllm_core.model.devices import devices_of, dtype_of, explained_shortage
from logllm_core.model.logllm import LogLLM
from logllm_core.model.window_answers import encode_windows
from logllm_core.progress import Relay
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training import launch, sampling, trained_model
from logllm_core.training.checkpoint import Checkpoints, checkpoints_beside
from logllm_core.training.gradients import TrainingMaterial
from logllm_core.training.process_team import Team, alone, join, leave
from logllm_core.training.projector_start import start_projector
from logllm_core.training.stage_plan import Execution, StagePlan, check_shares
from logllm_core.training.stage_run import StageRun
from logllm_core.training.training_state import METRICS

VERSION = 3
ALONE = Execution()
MODULE = "logllm_core.training.stage"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A stage to be trained now, and where to."""

    plan: StagePlan
    execution: Execution
    out_dir: Path  # gets the trained weights and the metrics

    @property
    def checkpoints_dir(self) -> Path:
        """Gone on from, where something is there."""
        return checkpoints_beside(self.out_dir)


def train_stage(store: Store, plan: StagePlan, execution: Execution = ALONE) -> Artifact:
    """Train one stage on the training split; the test split is never read.

    What a run that was cut off left in its checkpoints is gone on from.

    Raises:
        LogLLMError: more processes than a batch has work for, no labels, one class only, a loss
            that is not finite, not enough memory, a checkpoint of another training, or a process
            that was killed.
    """
    check_shares(plan.recipe, execution.num_processes)
    artifact = store.reuse_or_build(
        "models",
        plan.dataset,
        config=plan.config,
        inputs=plan.inputs,
        version=VERSION,
        build=lambda out_dir: _train(Order(plan=plan, execution=execution, out_dir=out_dir)),
    )
    # Only now that the artifact is in its place: a kill before this loses no step.
    shutil.rmtree(checkpoints_beside(artifact.path), ignore_errors=True)
    return artifact


def find_stage(store: Store, plan: StagePlan) -> Artifact:
    """The trained stage that `train_stage` would reuse.

    Raises:
        LogLLMError: it has not been trained.
    """
    trained = store.find(
        "models", plan.dataset, config=plan.config, inputs=plan.inputs, version=VERSION
    )
    if trained is None:
        raise LogLLMError(
            f"Stage {plan.stage.name} of {plan.dataset} has not been trained with these settings. "
            f"Train it first: logllm train {plan.dataset}, with the same options."
        )
    return trained


def _train(order: Order) -> dict[str, Json]:
    """Train in as many processes as asked for; returns what came out."""
    plan, num_processes = order.plan, order.execution.num_processes
    # All cards are claimed here: processes that each wait for their own could wait for ever.
    with gpu_locks.claim(*devices_of(num_processes)), explained_shortage():
        results = train_in_team(order, alone()) if num_processes == 1 else _together(order)
    logger.info(
        "{} stage {}: {} steps, loss {:.4f} -> {:.4f}",
        *(plan.dataset, plan.stage.name, results["num_steps"]),
        *(results["first_loss"], results["last_loss"]),
    )
    return results


def _together(order: Order) -> dict[str, Json]:
    """Train in several processes, and show here what the first of them tells."""
    with Relay() as relay:
        results = launch.run_together(
            MODULE,
            TypeAdapter(Order).dump_json(order),
            num_processes=order.execution.num_processes,
            hear=lambda event: launch.hear_of_work(event, relay),
        )
    return cast(dict[str, Json], results)


def train_in_team(order: Order, team: Team) -> dict[str, Json]:
    """Train in this process, alone or as one of a team; the first of it fills `out_dir`.

    Raises:
        LogLLMError: no labels, one class only, or from `StageRun.run`.
    """
    run = stage_run(order, team)
    results = run.run()
    if team.is_first:
        trained_model.save_weights(run.model, order.out_dir)
        (order.out_dir / METRICS).write_text(run.state.metrics, encoding="utf-8")
    recipe = order.plan.recipe
    dtype = str(dtype_of(recipe.precision, team.device))
    return results | {"dtype": dtype, "overrides": recipe.overrides}


def stage_run(order: Order, team: Team) -> StageRun:
    """A stage with all that it needs in memory, ready to be run.

    Raises:
        LogLLMError: no labels, or one class only.
    """
    plan = order.plan
    train = read_windows(plan.windows, "train")
    sampling.check_both_classes(plan.dataset, train)
    model, collator = trained_model.load_model(
        plan.folders,
        plan.recipe,
        plan.previous,
        messages=plan.messages,
        windows=plan.windows,
        device=team.device,
    )
    if plan.previous is None:
        start_projector(model, collator, train, plan.recipe.projector_init)
    material = _material(plan, train, model, collator)
    made_for = {
        **plan.config,
        "inputs": {name: artifact.fingerprint for name, artifact in plan.inputs.items()},
        "version": VERSION,
        "order_of_windows": sampling.digest(material.batches),
        "dtype": str(dtype_of(plan.recipe.precision, team.device)),
    }
    return StageRun(
        model,
        material,
        plan.stage,
        plan.recipe,
        team=team,
        checkpoints=Checkpoints(folder=order.checkpoints_dir, made_for=made_for),
        execution=order.execution,
    )


def _material(
    plan: StagePlan, train: Windows, model: LogLLM, collator: Collator
) -> TrainingMaterial:
    is_validated = bool(plan.recipe.num_validations)
    validation = read_windows(plan.windows, "validation") if is_validated else None
    batches = sampling.batches(plan.stage, plan.recipe, train)
    vectors = None
    if "encoder" not in plan.stage.trains:  # each message that occurs is encoded once for the stage
        rows = np.unique(np.concatenate(batches))
        chosen = [train.message_ids[row] for row in rows]
        chosen += validation.message_ids if validation else []
        vectors = encode_windows(model, collator, chosen)
    return TrainingMaterial(
        train=train, validation=validation, collator=collator, batches=batches, vectors=vectors
    )


def main() -> None:
    folder = Path(sys.argv[1])
    with launch.worker(folder) as tell:
        order = TypeAdapter(Order).validate_json((folder / launch.ORDER).read_bytes())
        team = join()
        if team.is_first:
            launch.tell_of_work(tell)
        results = train_in_team(order, team)
        if team.is_first:
            tell({"results": results})
        leave()


if __name__ == "__main__":
    main()
