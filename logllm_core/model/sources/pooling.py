"""How an encoder pools, by its publisher's word. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path

from logllm_core.errors import LogLLMError
from logllm_core.model import POOLINGS, Pooling

POOLING = "1_Pooling/config.json"  # where sentence-transformers says how its models pool
# Its names for what is offered here.
PUBLISHED_POOLINGS: Mapping[str, Pooling] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
}
_NAME_POOLING = "Choose one with --set pooling=mean, or another encoder with --backbones."


def published_pooling(encoder: str) -> Pooling:
    """How an encoder pools by its own `1_Pooling/config.json`; without one, as BERT: the pooler.

    Args:
        encoder: its folder.

    Raises:
        LogLLMError: it pools in another way, or the file is damaged.
    """
    path = Path(encoder) / POOLING
    if not path.is_file():
        return "pooler"
    try:
        content = json.loads(path.read_bytes())
        # Once a flag a mode, in newer releases the mode's name.
        asked = content.get("pooling_mode") or [
            name.removeprefix("pooling_mode_")
            for name, value in content.items()
            if name.startswith("pooling_mode_") and value
        ]
    except (ValueError, AttributeError, RecursionError) as fault:
        raise LogLLMError(
            f"{path} does not say how {encoder} pools: {fault}. {_NAME_POOLING}"
        ) from None
    modes = asked if isinstance(asked, list) else [asked]
    poolings = [PUBLISHED_POOLINGS.get(str(mode)) for mode in modes]
    if len(poolings) != 1 or poolings[0] is None:
        raise LogLLMError(
            f"{encoder} pools by {', '.join(map(str, modes)) or 'nothing'} ({path}). Known: "
            f"{', '.join(POOLINGS)}. {_NAME_POOLING}"
        )
    return poolings[0]
