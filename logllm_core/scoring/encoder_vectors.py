"""The pretrained encoder's vectors of a data set's messages, as it was published.

Nothing of them is trained, so that they say what the encoder knows alone. They depend on the
messages and the encoder, not on seed, stages or decoder: all runs on these messages share them.
"""

from pathlib import Path

import numpy as np
import torch
from loguru import logger
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.model import backbones, gpu_locks
from logllm_core.model.backbones import Loading
from logllm_core.model.devices import (
    begin_peak_memory,
    devices_of,
    dtype_of,
    explained_shortage,
    peak_memory,
)
from logllm_core.model.encoders import TextEncoder
from logllm_core.model.message_tokens import GROUP_MESSAGES, TokenizedVocabulary, on_device
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.progress import track
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training.recipes import Recipe

VERSION = 1
MAX_MESSAGES = 500_000  # of a vocabulary; 1.5 GB at BERT's width of 768
FILE_NAME, VECTORS = "vectors.safetensors", "vectors_ME"


def encode_vocabulary(
    store: Store, dataset: str, *, recipe: Recipe, folders: BackboneFolders, messages: Artifact
) -> Artifact | None:
    """Vectors of every distinct message by the frozen encoder, read by `read_vectors`.

    Returns:
        None where there are more than `MAX_MESSAGES` distinct messages.
    """
    num_messages = messages.results["num_distinct_messages"]
    if num_messages > MAX_MESSAGES:
        logger.info(
            "{}: {:,} distinct messages are too many to encode all (limit {:,})",
            *(dataset, num_messages, MAX_MESSAGES),
        )
        return None
    identity = folders.identity
    return store.reuse_or_build(
        "vectors",
        dataset,
        config={
            "encoder": identity["encoder"],
            "encoder_content": identity["encoder_content"],
            "pooling": identity["pooling"],
            "quantization": recipe.quantization,
            "precision": recipe.precision,
            "max_message_tokens": recipe.max_message_tokens,
        },
        inputs={"messages": messages},
        version=VERSION,
        build=lambda out_dir: _build(out_dir, dataset, recipe, folders, messages),
    )


def read_vectors(vectors: Artifact) -> NDArray[np.float32]:
    """[M, E]: a row a message of the vocabulary."""
    vectors_ME: NDArray[np.float32] = load_file(vectors.path / FILE_NAME)[VECTORS]
    return vectors_ME


def _build(
    out_dir: Path, dataset: str, recipe: Recipe, folders: BackboneFolders, messages: Artifact
) -> dict[str, Json]:
    (device,) = devices_of(1)
    loading = Loading(
        quantization=recipe.quantization, device=device, dtype=dtype_of(recipe.precision, device)
    )

    def encode() -> tuple[NDArray[np.float32], int]:
        """The encoder is gone when this returns, and its memory with it."""
        begin_peak_memory(device)
        encoder, tokenizer = backbones.load_encoder(folders, loading)
        vocabulary = TokenizedVocabulary(
            read_vocabulary(messages), tokenizer, max_message_tokens=recipe.max_message_tokens
        )
        return _encode(encoder, vocabulary, device), len(vocabulary.cut_messages)

    with gpu_locks.claim(device), explained_shortage():
        vectors_ME, num_cut_messages = encode()
        peak = peak_memory(device)
    save_file({VECTORS: vectors_ME}, out_dir / FILE_NAME)
    num_messages, width = vectors_ME.shape
    logger.info("{}: {:,} messages encoded by the frozen encoder", dataset, num_messages)
    return {
        "num_messages": num_messages,
        "width": width,
        "num_cut_messages": num_cut_messages,
        "peak_memory_bytes": peak.ram_bytes,
        "peak_gpu_memory_bytes": peak.gpu_bytes,
    }


@torch.no_grad()
def _encode(
    encoder: TextEncoder, vocabulary: TokenizedVocabulary, device: torch.device
) -> NDArray[np.float32]:
    """[M, E], each message once; those of like length beside each other."""
    num_messages = len(vocabulary.num_tokens)
    ordered = vocabulary.sort(np.arange(num_messages))
    vectors_ME: NDArray[np.float32] | None = None
    with track("Encoding messages", total=num_messages, unit="messages") as advance:
        for start in range(0, num_messages, GROUP_MESSAGES):
            some = ordered[start : start + GROUP_MESSAGES]
            encoded_ME = encoder(on_device(vocabulary.encoder_input(some), device)).cpu().numpy()
            if vectors_ME is None:
                vectors_ME = np.empty((num_messages, encoded_ME.shape[1]), dtype=np.float32)
            vectors_ME[some] = encoded_ME
            advance(len(some))
    assert vectors_ME is not None, "no log is without messages"
    return vectors_ME
