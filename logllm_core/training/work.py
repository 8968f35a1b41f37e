"""The work of one stage in one process: load the model, train it, write its weights."""

import numpy as np

from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.model.devices import dtype_of
from logllm_core.model.window_answers import encode_windows
from logllm_core.store.store import Json
from logllm_core.training import sampling, trained_model
from logllm_core.training.checkpoint import Checkpoints
from logllm_core.training.gradients import Material
from logllm_core.training.launch import Team
from logllm_core.training.loop import StageRun
from logllm_core.training.plan import Order
from logllm_core.training.projector_start import start_projector
from logllm_core.training.state import METRICS


def work(order: Order, team: Team) -> dict[str, Json]:
    """Train in this process, alone or as one of a team; the first of it fills `out_dir`.

    Raises:
        LogLLMError: no labels, one class only, or from `StageRun.run`.
    """
    plan = order.plan
    stage, recipe = plan.stage, plan.recipe
    train = read_windows(plan.windows, "train")
    sampling.check_both_classes(plan.dataset, train)
    validation = read_windows(plan.windows, "validation") if recipe.num_validations else None
    model, collator = trained_model.load_model(
        plan.places,
        recipe,
        plan.previous,
        messages=plan.messages,
        windows=plan.windows,
        device=team.device,
    )
    if plan.previous is None:
        start_projector(model, collator, train, recipe.projector_init)
    batches = sampling.batches(stage, recipe, train)
    vectors = None
    if "encoder" not in stage.trains:  # each message that occurs is encoded once for the stage
        chosen = [train.message_ids[place] for place in np.unique(np.concatenate(batches))]
        chosen += validation.message_ids if validation else []
        vectors = encode_windows(model, collator, chosen)
    material = Material(
        train=train,
        validation=validation,
        collator=collator,
        batches=batches,
        vectors=vectors,
    )
    dtype = str(dtype_of(recipe.precision, team.device))
    made_for = {
        **plan.config,
        "inputs": {name: found.fingerprint for name, found in plan.inputs.items()},
        "version": order.version,
        "order_of_windows": sampling.digest(batches),
        "dtype": dtype,
    }
    checkpoints = Checkpoints(folder=order.checkpoints_dir, made_for=made_for)
    run = StageRun(
        model,
        material,
        stage,
        recipe,
        team=team,
        checkpoints=checkpoints,
        execution=order.execution,
    )
    results = run.run()
    if team.is_first:
        trained_model.save_weights(model, order.out_dir)
        (order.out_dir / METRICS).write_text(run.state.metrics, encoding="utf-8")
    return results | {
        "dtype": str(dtype_of(recipe.precision, team.device)),
        "overrides": recipe.overrides,
    }
