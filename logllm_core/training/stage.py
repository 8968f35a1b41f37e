"""One training stage: from a model and labelled windows to trained weights."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loguru import logger
from torch import Tensor

from logllm_core.errors import LogLLMError
from logllm_core.logs.messages import read_vocabulary
from logllm_core.logs.windows import Windows, read_windows
from logllm_core.model import backbones
from logllm_core.model.batches import TokenizedVocabulary, WindowBatch, make_batch
from logllm_core.model.logllm import LogLLM, encode_vocabulary
from logllm_core.model.places import Places
from logllm_core.progress import track
from logllm_core.store import Artifact, Json, Store
from logllm_core.training import checkpoint, sampling
from logllm_core.training.recipes import Recipe, Stage

VERSION = 1
METRICS = "metrics.jsonl"  # one line an optimiser step
TENTHS = 10  # the learning rate falls this often in a stage


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingMaterial:
    """What a stage learns from."""

    windows: Windows
    vocabulary: TokenizedVocabulary
    vectors_ME: Tensor | None  # all messages' encoder vectors, where the encoder is frozen


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """One stage of one training: what decides its outcome, and so what it is found by."""

    dataset: str
    stage: Stage
    recipe: Recipe
    places: Places
    messages: Artifact
    windows: Artifact
    previous: Artifact | None  # the stage before, None for the first

    @property
    def config(self) -> dict[str, Json]:
        return {
            "stage": self.stage.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json", exclude={"name", "stages"}),
            "backbones": self.places.identity,
        }

    @property
    def inputs(self) -> dict[str, Artifact]:
        found = {"messages": self.messages, "windows": self.windows}
        return found | {"previous": self.previous} if self.previous else found


def train_stage(store: Store, plan: StagePlan) -> Artifact:
    """Train one stage on the training split; the test split is never read.

    Raises:
        LogLLMError: no labels, one class only, or a loss that is not finite.
    """
    stage, recipe = plan.stage, plan.recipe
    device = backbones.default_device()
    dtype = backbones.fastest_dtype(device)

    def build(out_dir: Path) -> dict[str, Json]:
        train = read_windows(plan.windows, "train")
        sampling.check_both_classes(plan.dataset, train)
        model, tokenizer = checkpoint.load_model(
            plan.places, recipe, plan.previous, device=device, dtype=dtype
        )
        vocabulary = TokenizedVocabulary(
            read_vocabulary(plan.messages), tokenizer, max_message_tokens=recipe.max_message_tokens
        )
        if plan.previous is None and recipe.projector_init == "aligned":
            known = sorted({message for ids in train.message_ids for message in ids})
            model.align_projector(encode_vocabulary(model, vocabulary)[known])
        results = run_stage(model, stage, recipe, train, vocabulary, out_dir / METRICS)
        results["dtype"] = str(dtype)
        checkpoint.save_weights(model, out_dir)
        logger.info(
            "{} stage {}: {} steps, loss {:.4f} -> {:.4f}",
            *(plan.dataset, stage.name, results["num_steps"]),
            *(results["first_loss"], results["last_loss"]),
        )
        return results

    return store.reuse_or_build(
        "models",
        plan.dataset,
        config=plan.config,
        inputs=plan.inputs,
        version=VERSION,
        build=build,
    )


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


def run_stage(
    model: LogLLM,
    stage: Stage,
    recipe: Recipe,
    windows: Windows,
    vocabulary: TokenizedVocabulary,
    metrics_path: Path,
) -> dict[str, Json]:
    """Train `model` in place and write the loss of each step.

    Raises:
        LogLLMError: the loss is not finite.
    """
    torch.manual_seed(sampling.derived_seed(recipe.seed, "dropout", stage.name))
    parameters = backbones.set_trainable(model, stage.trains)
    # Where the encoder is frozen, the whole vocabulary is encoded once.
    is_frozen = "encoder" not in stage.trains
    material = TrainingMaterial(
        windows=windows,
        vocabulary=vocabulary,
        vectors_ME=encode_vocabulary(model, vocabulary) if is_frozen else None,
    )
    optimizer = torch.optim.AdamW(parameters, lr=stage.learning_rate)
    batches = list(_batches(stage, recipe, windows))
    losses = []
    with (
        metrics_path.open("w", encoding="utf-8") as metrics,
        track(f"Training stage {stage.name}", total=len(batches), unit="steps") as advance,
    ):
        for step, places in enumerate(batches):
            rate = learning_rate(stage, recipe, step, len(batches))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _step(model, optimizer, material, places, recipe)
            if not math.isfinite(loss):
                ids = windows.window_ids[places].tolist()
                raise LogLLMError(
                    f"Stage {stage.name}: the loss of step {step + 1} is {loss} (windows {ids}). "
                    "Lower learning_rate, or use --quantization none."
                )
            losses.append(loss)
            metrics.write(json.dumps({"step": step + 1, "loss": loss, "rate": rate}) + "\n")
            advance(1)
    return {
        "num_steps": len(losses),
        "num_samples": sum(map(len, batches)),
        "num_trained_parameters": sum(parameter.numel() for parameter in parameters),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_cut_messages": vocabulary.num_cut_messages,
        "num_cut_windows": windows.num_longer_than(recipe.max_window_messages),
        "first_loss": losses[0],
        "last_loss": float(np.mean(losses[-10:])),
    }


def learning_rate(stage: Stage, recipe: Recipe, step: int, num_steps: int) -> float:
    """The rate at a step (from 0): multiplied by the decay after each tenth of the stage."""
    return stage.learning_rate * recipe.learning_rate_decay ** (TENTHS * step // num_steps)


def _batches(stage: Stage, recipe: Recipe, windows: Windows) -> Iterator[sampling.Indices]:
    for places in sampling.epochs(stage, recipe, windows):
        for start in range(0, len(places), recipe.batch_size):
            yield places[start : start + recipe.batch_size]


def _step(
    model: LogLLM,
    optimizer: torch.optim.Optimizer,
    material: TrainingMaterial,
    places: sampling.Indices,
    recipe: Recipe,
) -> float:
    """One optimiser step over a batch, micro-batch by micro-batch; the batch's mean loss."""
    total = 0.0
    optimizer.zero_grad()
    for start in range(0, len(places), recipe.micro_batch_size):
        micro = places[start : start + recipe.micro_batch_size]
        batch = _batch(material, micro.tolist(), recipe.max_window_messages).to(model.device)
        loss = model(batch) * (len(micro) / len(places))
        loss.backward()
        total += float(loss.detach())
    optimizer.step()
    return total


def _batch(
    material: TrainingMaterial, places: Sequence[int], max_window_messages: int
) -> WindowBatch:
    assert material.windows.is_anomalous is not None
    return make_batch(
        [material.windows.message_ids[place][:max_window_messages] for place in places],
        [bool(material.windows.is_anomalous[place]) for place in places],
        vocabulary=material.vocabulary,
        vectors_ME=material.vectors_ME,
    )
