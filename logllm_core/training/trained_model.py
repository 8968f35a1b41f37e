"""A model as a stage left it: projector and adapters in safetensors, nothing to unpickle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from logllm_core.errors import LogLLMError
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.model import Pooling, backbones
from logllm_core.model.backbones import Loaded, Loading
from logllm_core.model.batches import Collator
from logllm_core.model.devices import dtype_of
from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import (
    EncoderVocabulary,
    IdVocabulary,
    TextVocabulary,
    TokenizedVocabulary,
)
from logllm_core.model.prompt import Tokenizer
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.model.weights import KNOWN_IDS, load_trainable_state, trainable_state
from logllm_core.store.intact_files import require_intact
from logllm_core.store.store import Artifact
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import derived_seed

WEIGHTS = "trainable.safetensors"


def save_weights(model: LogLLM, folder: Path) -> None:
    save_file(trainable_state(model), folder / WEIGHTS)


def load_model(
    folders: BackboneFolders,
    recipe: Recipe,
    trained: Artifact | None,
    *,
    messages: Artifact,
    windows: Artifact,
    device: torch.device,
) -> tuple[LogLLM, Collator]:
    """The model as a stage left it, or with the recipe's seeded fresh weights, and its collator.

    Args:
        trained: the artifact of a stage; None before the first.
        messages: those whose ids the windows to come hold.
        windows: before the first stage, the training split tells which messages are known.
    """
    known_ids = None
    if recipe.embedder == "message-id" and trained is None:
        train = read_windows(windows, "train")
        known = {message for ids in train.message_ids for message in ids}
        known_ids = torch.from_numpy(np.array(sorted(known), dtype=np.int64))
    loaded = load_weights(folders, recipe, trained, device=device, known_ids=known_ids)
    collator = Collator(
        prompt=loaded.model.prompt,
        vocabulary=_read_vocabulary(messages, recipe, loaded),
        max_window_messages=recipe.max_window_messages,
        max_window_tokens=recipe.max_window_tokens,
    )
    return loaded.model, collator


def load_weights(
    folders: BackboneFolders,
    recipe: Recipe,
    trained: Artifact | None,
    *,
    device: torch.device,
    known_ids: torch.Tensor | None = None,
) -> Loaded:
    """The model alone, for messages that need not be of any artifact, and its tokenizers.

    Args:
        trained: the artifact of a stage; None: the recipe's seeded fresh weights.
        known_ids: of the embedder "message-id" before its first stage.

    Raises:
        LogLLMError: the stage is damaged, or was trained on backbones with another content.
    """
    if trained is not None:
        require_intact(trained.path)
        _check_backbones(folders, trained)
    state = load_file(trained.path / WEIGHTS) if trained else {}
    torch.manual_seed(derived_seed(recipe.seed, "weights"))
    loading = Loading(
        quantization=recipe.quantization,
        device=device,
        dtype=dtype_of(recipe.precision, device),
        embedder=recipe.embedder,
        question=recipe.question,
        decoder_depth=recipe.decoder_depth,
        is_compiled=recipe.is_compiled,
        recomputes_activations=recipe.recomputes_activations,
    )
    loaded = backbones.load_backbones(folders, loading, state.get(KNOWN_IDS, known_ids))
    if trained is not None:
        load_trainable_state(loaded.model, state)
    return loaded


def _check_backbones(folders: BackboneFolders, trained: Artifact) -> None:
    """Adapters say nothing on another base: that they fit into it proves nothing.

    Raises:
        LogLLMError: the backbones' files hold something else than when the stage was trained.
    """
    then, now = trained.manifest["config"]["backbones"], folders.identity
    for part, folder in (("encoder", folders.encoder), ("decoder", folders.decoder)):
        if then[f"{part}_content"] != now[f"{part}_content"]:
            raise LogLLMError(
                f"The {part} in {folder} is another one than the model {trained.fingerprint} of "
                f"{trained.dataset} was trained on. Restore that one (a package: pip install "
                f"--no-deps --force-reinstall), or train again: logllm train {trained.dataset}."
            )


def pooling_of(trained: Artifact) -> Pooling:
    """How the encoder of a trained stage pools; models of before pooling was a setting: as BERT."""
    pooling: Pooling = trained.manifest["config"]["backbones"].get("pooling", "pooler")
    return pooling


def _read_vocabulary(
    messages: Artifact, recipe: Recipe, loaded: Loaded
) -> EncoderVocabulary | TextVocabulary:
    """The messages, as this model reads them."""
    if recipe.embedder == "message-id":
        return IdVocabulary()
    texts = read_vocabulary(messages)
    if recipe.embedder == "none":
        return text_vocabulary(texts, recipe, loaded.decoder_tokenizer)
    limit = recipe.max_message_tokens
    return TokenizedVocabulary(texts, loaded.encoder_tokenizer, max_message_tokens=limit)


def text_vocabulary(texts: Sequence[str], recipe: Recipe, tokenizer: Tokenizer) -> TextVocabulary:
    """Messages as text; none is longer than a window may be."""
    limit = min(recipe.max_message_tokens, recipe.max_window_tokens)
    return TextVocabulary(texts, tokenizer, max_message_tokens=limit)
