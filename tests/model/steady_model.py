"""A trained model of the real backbones `small`, with windows and what it said of them in float32.

The files lie in `steady/` and are made by `make_steady.py`: the trained weights as float16, to be
small, and a JSON file.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from logllm_core.model import Precision
from logllm_core.model.backbones import find_backbones
from logllm_core.model.batches import Collator
from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import TokenizedVocabulary
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import score_log_odds
from logllm_core.store.intact_files import sha256_of
from logllm_core.store.store import Json, Store
from logllm_core.training.recipes import RECIPES
from logllm_core.training.trained_model import WEIGHTS, load_weights

FOLDER = Path(__file__).parent / "steady"
WINDOWS = "windows.json"
CPU = torch.device("cpu")
Window = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Windows as ids of masked messages, and what the model says of them in float32."""

    backbones: str
    recipe: dict[str, Any]  # what shaped the training
    messages: tuple[str, ...]
    windows: tuple[Window, ...]
    log_odds: NDArray[np.float64]


def read_asked(folder: Path = FOLDER) -> Asked:
    content = json.loads((folder / WINDOWS).read_text(encoding="utf-8"))
    return Asked(
        backbones=content["backbones"],
        recipe=content["recipe"],
        messages=tuple(content["messages"]),
        windows=tuple(map(tuple, content["windows"])),
        log_odds=np.array(content["log_odds"]),
    )


def load_steady(
    store: Store, asked: Asked, precision: Precision, folder: Path = FOLDER
) -> tuple[LogLLM, Collator]:
    """The model as other processors load it too, ready to score.

    Args:
        store: where the decoder is re-saved, once.
    """
    recipe = RECIPES["quick"].model_copy(update=asked.recipe | {"precision": precision})
    folders = find_backbones(store, asked.backbones)

    def build(out_dir: Path) -> dict[str, Json]:
        shutil.copy(folder / WEIGHTS, out_dir)
        return {}

    config = {"backbones": folders.identity, "sha256": sha256_of(folder / WEIGHTS)}
    trained = store.reuse_or_build(
        "models", "steady", config=config, inputs={}, version=1, build=build
    )
    loaded = load_weights(folders, recipe, trained, device=CPU)
    set_trainable(loaded.model, ())
    vocabulary = TokenizedVocabulary(
        asked.messages, loaded.encoder_tokenizer, max_message_tokens=recipe.max_message_tokens
    )
    collator = Collator(
        prompt=loaded.model.prompt,
        vocabulary=vocabulary,
        max_window_messages=recipe.max_window_messages,
    )
    return loaded.model, collator


def says(
    model: LogLLM, collator: Collator, windows: Sequence[Window], *, num_threads: int
) -> NDArray[np.float64]:
    """Log-odds by so many threads; afterwards there are as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        return score_log_odds(model, collator, windows)
    finally:
        torch.set_num_threads(before)
