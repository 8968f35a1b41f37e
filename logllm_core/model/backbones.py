"""Pretrained encoders and decoders: loading, precision, quantisation.

The one module that knows transformers and, through it, bitsandbytes; all else takes modules of
torch. transformers takes seconds to import, so it is imported where a model is loaded.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from logllm_core.model import Embedder, Pooling, Quantization
from logllm_core.model.assemble import assemble, check_encoder, text_encoder
from logllm_core.model.devices import never_repack
from logllm_core.model.encoders import IdEncoder, TextEncoder
from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import MessageTokenizer
from logllm_core.model.prompt import QUESTION, Tokenizer
from logllm_core.model.sources.hub import not_to_be_had
from logllm_core.model.sources.named_backbones import BackboneFolders, find_folders
from logllm_core.store.store import Json, Store

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel


def find_backbones(store: Store, name: str, pooling: Pooling | None = None) -> BackboneFolders:
    """The folders of the backbones; a GGUF decoder is re-saved into the store once.

    Args:
        pooling: a recipe's; None: as the table of backbones, or else the encoder's folder, says.
    """
    return find_folders(store, name, pooling, resave=_save_gguf_as_safetensors)


def _save_gguf_as_safetensors(gguf: Path, out_dir: Path) -> dict[str, Json]:
    """Re-save a GGUF decoder and its tokenizer, so that it can be loaded quantised and fast."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kwargs: dict[str, Any] = {"gguf_file": gguf.name, "trust_remote_code": False}
    folder = str(gguf.parent)
    _hush_progress_bars()
    with contextlib.redirect_stderr(io.StringIO()):  # a bar that cannot be switched off
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **kwargs)
    # The tensors are plain again; transformers still takes the model for a quantised one.
    model.hf_quantizer = None
    del model.config.quantization_config
    model.to(torch.bfloat16).save_pretrained(out_dir)
    AutoTokenizer.from_pretrained(folder, **kwargs).save_pretrained(out_dir)
    return {"num_parameters": sum(p.numel() for p in model.parameters())}


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """How backbones are loaded and joined."""

    quantization: Quantization = "none"  # "nf4": both in 4 bits (QLoRA: no double quantisation)
    device: torch.device
    dtype: torch.dtype  # of frozen weights and products; adapters and projector stay float32
    embedder: Embedder = "encoder"
    question: str = QUESTION  # what the decoder is asked after the messages
    decoder_depth: float = 1.0  # the share of the decoder's layers that is used
    is_compiled: bool = False  # the decoder's layers, at the first forward pass
    recomputes_activations: bool = False  # of the decoder, in the backward pass, to save memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """The untrained model, and the tokenizers that its messages are read with."""

    model: LogLLM
    encoder_tokenizer: MessageTokenizer
    decoder_tokenizer: Tokenizer


def load_backbones(
    folders: BackboneFolders, loading: Loading, known_ids: Tensor | None = None
) -> Loaded:
    """The untrained LogLLM model with fresh LoRA adapters.

    Weights come from safetensors only and no code from a hub is run. Fresh weights are drawn from
    torch's global generator: seed it first.

    Args:
        folders: where both are.
        known_ids: the messages that the embedder "message-id" has vectors for.

    Raises:
        LogLLMError: the models are not to be had, or are not of the two architectures.
    """
    with _explained_failure(f"The backbones {folders.encoder} and {folders.decoder}"):
        encoder_tokenizer = cast(MessageTokenizer, _tokenizer(folders.encoder))
        decoder_tokenizer = cast(Tokenizer, _tokenizer(folders.decoder))
        model = assemble(
            _embedder(folders, loading, known_ids),
            _decoder(folders, loading),
            decoder_tokenizer,
            question=loading.question,
            depth=loading.decoder_depth,
        )
    if loading.recomputes_activations:
        model.decoder.activation_checkpointing_enable({"use_reentrant": False})
    if loading.is_compiled:
        for layer in model.decoder.model.layers:
            layer.compile(dynamic=True)
    return Loaded(
        model=model.to(loading.device),
        encoder_tokenizer=encoder_tokenizer,
        decoder_tokenizer=decoder_tokenizer,
    )


def load_encoder(
    folders: BackboneFolders, loading: Loading
) -> tuple[TextEncoder, MessageTokenizer]:
    """The pretrained encoder as it was published, without adapters, ready to encode.

    Raises:
        LogLLMError: the model is not to be had, or is not of BERT's architecture.
    """
    with _explained_failure(f"The encoder {folders.encoder}"):
        tokenizer = cast(MessageTokenizer, _tokenizer(folders.encoder))
        bert = _bert(folders, loading)
    check_encoder(bert, folders.pooling)
    encoder = TextEncoder(bert, folders.pooling).to(loading.device).requires_grad_(False).eval()
    never_repack(encoder)
    return encoder, tokenizer


@contextlib.contextmanager
def _explained_failure(what: str) -> Iterator[None]:
    """transformers raises any of these."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as fault:
        raise not_to_be_had(f"{what} cannot be loaded", fault) from fault


def _embedder(
    folders: BackboneFolders, loading: Loading, known_ids: Tensor | None
) -> nn.Module | None:
    """What makes vectors of messages, with fresh adapters."""
    if loading.embedder == "encoder":
        return text_encoder(_bert(folders, loading), folders.pooling)
    if loading.embedder == "none":
        return None
    from transformers import AutoConfig

    assert known_ids is not None
    config = AutoConfig.from_pretrained(folders.encoder, trust_remote_code=False)
    return IdEncoder(known_ids, config.hidden_size)


def _bert(folders: BackboneFolders, loading: Loading) -> "PreTrainedModel":
    from transformers import AutoModel

    model: PreTrainedModel = AutoModel.from_pretrained(folders.encoder, **_reading(loading))
    return model


def _decoder(folders: BackboneFolders, loading: Loading) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folders.decoder, **_reading(loading)
    )
    return model


def _tokenizer(folder: str) -> object:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _reading(loading: Loading) -> dict[str, Any]:
    """What `from_pretrained` is told."""
    _hush_progress_bars()
    return {
        "use_safetensors": True,
        # On CPUs the fused kernel's backward pass is the slower one for windows this short.
        "attn_implementation": "eager" if loading.device.type == "cpu" else "sdpa",
        "trust_remote_code": False,
        "device_map": {"": loading.device},
        "quantization_config": _nf4(loading.dtype) if loading.quantization == "nf4" else None,
        "dtype": loading.dtype,
    }


def _nf4(dtype: torch.dtype) -> "BitsAndBytesConfig":
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=False,
        bnb_4bit_compute_dtype=dtype,
    )


def _hush_progress_bars() -> None:
    """Loading takes a second; the bars of a download are huggingface_hub's and stay."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
