"""The weights that training may change: projector, adapters, and a learned vector an id."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from logllm_core.errors import LogLLMError
from logllm_core.model import PARTS, Part
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


def trainable_state(model: LogLLM) -> dict[str, Tensor]:
    """The weights that training may change, by name: projector and adapters, on the CPU."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _own(model)}


def load_trainable_state(model: LogLLM, state: Mapping[str, Tensor]) -> None:
    """The inverse of `trainable_state`.

    Raises:
        LogLLMError: the weights belong to other backbones.
    """
    own = dict(_own(model))
    strange = set(own.keys() ^ state.keys()) or {
        name for name in own if own[name].shape != state[name].shape
    }
    if strange:
        raise LogLLMError(
            f"The trained weights do not fit these backbones ({len(strange)} tensors differ, first "
            f"{min(strange)}). Load them with the backbones that they were trained with."
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def _own(model: LogLLM) -> Iterator[tuple[str, Tensor]]:
    """Trainable weights, and which messages an id encoder knows."""
    for part in PARTS:
        yield from trainable_parameters(model, part)
    if isinstance(model.encoder, IdEncoder):
        yield KNOWN_IDS, model.encoder.known_ids
