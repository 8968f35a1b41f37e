"""The weights that training may change: projector, adapters, and a learned vector an id."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from logllm_core.errors import LogLLMError
from logllm_core.model import PARTS, Part
from logllm_core.model.devices import never_repack
from logllm_core.model.dropout import QuickDropout
from logllm_core.model.encoders import IdEncoder
from logllm_core.model.logllm import LogLLM

KNOWN_IDS = "encoder.known_ids"


def trainable_parameters(model: LogLLM, part: Part) -> Iterator[tuple[str, nn.Parameter]]:
    """What a stage may train of a part: projector and id vectors whole, of a backbone its adapters.

    Nothing where the model lacks the part.
    """
    module = getattr(model, part)
    if module is None:
        return
    is_whole = part == "projector" or isinstance(module, IdEncoder)
    for name, parameter in module.named_parameters(prefix=part):
        if is_whole or "lora_" in name:
            yield name, parameter


def set_trainable(
    model: LogLLM,
    parts: Sequence[Part],
    *,
    has_lora_dropout: bool = True,
    has_encoder_dropout: bool = False,
) -> dict[str, nn.Parameter]:
    """Freeze all but the trainable weights of `parts`; returns those. With no parts: to score.

    Args:
        has_lora_dropout: whether the adapters of parts that train drop some of their input.
        has_encoder_dropout: whether the encoder's own dropout is on where it trains. It is off in
            the reference code, which never calls `.train()`.
    """
    model.eval()
    model.requires_grad_(False)
    chosen: dict[str, nn.Parameter] = {}
    for part in parts:
        chosen |= trainable_parameters(model, part)
        for module in getattr(model, part).modules() if getattr(model, part) else ():
            if isinstance(module, QuickDropout):
                module.train(has_lora_dropout)
            elif part == "encoder":  # all of it: attention drops by the mode of its own module
                module.training = has_encoder_dropout
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    never_repack(model)
    for module in model.modules():
        # A layer recomputes in training mode alone; it has no dropout of its own.
        if getattr(module, "gradient_checkpointing", False):
            module.training = bool(parts)
    return chosen


def trainable_state(model: LogLLM) -> dict[str, Tensor]:
    """The weights that training may change, by name: projector and adapters, on the CPU."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _held(model)}


def load_trainable_state(model: LogLLM, state: Mapping[str, Tensor]) -> None:
    """The inverse of `trainable_state`.

    Raises:
        LogLLMError: the weights belong to other backbones.
    """
    held = dict(_held(model))
    strange = set(held.keys() ^ state.keys()) or {
        name for name in held if held[name].shape != state[name].shape
    }
    if strange:
        raise LogLLMError(
            f"The trained weights do not fit these backbones ({len(strange)} tensors differ, first "
            f"{min(strange)}). Load them with the backbones that they were trained with."
        )
    with torch.no_grad():
        for name, tensor in held.items():
            tensor.copy_(state[name])


def _held(model: LogLLM) -> Iterator[tuple[str, Tensor]]:
    """Trainable weights, and which messages an id encoder knows."""
    for part in PARTS:
        yield from trainable_parameters(model, part)
    if isinstance(model.encoder, IdEncoder):
        yield KNOWN_IDS, model.encoder.known_ids
