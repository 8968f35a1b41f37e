"""Pretrained encoders and decoders: loading, precision, quantisation, LoRA.

The one room that knows transformers, peft and bitsandbytes. Everything else takes modules.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
)
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import logging as transformers_logging

from logllm_core.errors import LogLLMError
from logllm_core.model import Embedder, Part, Pooling, Quantization
from logllm_core.model.depth import leave_out_layers
from logllm_core.model.devices import never_repack
from logllm_core.model.dropout import QuickDropout
from logllm_core.model.encoders import IdEncoder, TextEncoder
from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import MessageTokenizer
from logllm_core.model.prompt import QUESTION, Tokenizer, tokenize_prompt
from logllm_core.model.sources.hub import not_to_be_had
from logllm_core.model.sources.named_backbones import Places, find_places
from logllm_core.model.weights import trainable_parameters
from logllm_core.store.store import Json, Store


class Lora(NamedTuple):  # adapters, in the words of peft's LoraConfig
    r: int
    lora_alpha: int
    lora_dropout: float
    target_modules: tuple[str, ...]


# Section V-B and the reference code.
ENCODER_LORA = Lora(r=4, lora_alpha=32, lora_dropout=0.01, target_modules=("query", "value"))
DECODER_LORA = Lora(r=8, lora_alpha=16, lora_dropout=0.1, target_modules=("q_proj", "v_proj"))


def find_backbones(store: Store, name: str, pooling: Pooling | None = None) -> Places:
    """The places of the backbones; a GGUF decoder is re-saved into the store once.

    Args:
        pooling: a recipe's; None: as the table of backbones, or else the encoder's folder, says.
    """
    return find_places(store, name, pooling, resave=_save_gguf_as_safetensors)


def _save_gguf_as_safetensors(gguf: Path, out_dir: Path) -> dict[str, Json]:
    """Re-save a GGUF decoder and its tokenizer, so that it can be loaded quantised and fast."""
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


def load_backbones(places: Places, loading: Loading, known_ids: Tensor | None = None) -> Loaded:
    """The untrained LogLLM model with fresh LoRA adapters.

    Weights come from safetensors only and no code from a hub is run. Fresh weights are drawn from
    torch's global generator: seed it first.

    Args:
        places: where both are.
        known_ids: the messages that the embedder "message-id" has vectors for.

    Raises:
        LogLLMError: the models are not to be had, or are not of the two architectures.
    """
    _hush_progress_bars()
    kwargs = _reading(loading)
    try:
        encoder_tokenizer = AutoTokenizer.from_pretrained(places.encoder, trust_remote_code=False)
        decoder_tokenizer = AutoTokenizer.from_pretrained(places.decoder, trust_remote_code=False)
        encoder: nn.Module | None = None
        if loading.embedder == "encoder":
            bert = AutoModel.from_pretrained(places.encoder, **kwargs)
            encoder = text_encoder(bert, places.pooling)
        elif loading.embedder == "message-id":
            assert known_ids is not None
            config = AutoConfig.from_pretrained(places.encoder, trust_remote_code=False)
            encoder = IdEncoder(known_ids, config.hidden_size)
        decoder = AutoModelForCausalLM.from_pretrained(places.decoder, **kwargs)
        model = assemble(
            encoder,
            decoder,
            cast(Tokenizer, decoder_tokenizer),
            question=loading.question,
            depth=loading.decoder_depth,
        )
    except (OSError, ValueError, SafetensorError) as fault:  # transformers raises any of them
        named = f"The backbones {places.encoder} and {places.decoder}"
        raise not_to_be_had(f"{named} cannot be loaded", fault) from fault
    if loading.recomputes_activations:
        model.decoder.activation_checkpointing_enable({"use_reentrant": False})
    if loading.is_compiled:
        for layer in model.decoder.model.layers:
            layer.compile(dynamic=True)
    return Loaded(
        model=model.to(loading.device),
        encoder_tokenizer=cast(MessageTokenizer, encoder_tokenizer),
        decoder_tokenizer=cast(Tokenizer, decoder_tokenizer),
    )


def load_encoder(places: Places, loading: Loading) -> tuple[TextEncoder, MessageTokenizer]:
    """The pretrained encoder as it was published, without adapters, ready to encode.

    Raises:
        LogLLMError: the model is not to be had, or is not of BERT's architecture.
    """
    _hush_progress_bars()
    try:
        tokenizer = AutoTokenizer.from_pretrained(places.encoder, trust_remote_code=False)
        bert = AutoModel.from_pretrained(places.encoder, **_reading(loading))
    except (OSError, ValueError, SafetensorError) as fault:  # transformers raises any of them
        raise not_to_be_had(f"The encoder {places.encoder} cannot be loaded", fault) from fault
    _check_bert(bert, places.pooling)
    encoder = TextEncoder(bert, places.pooling).to(loading.device).requires_grad_(False).eval()
    never_repack(encoder)
    return encoder, cast(MessageTokenizer, tokenizer)


def _reading(loading: Loading) -> dict[str, Any]:
    """What `from_pretrained` is told."""
    return {
        "use_safetensors": True,
        # On CPUs the fused kernel's backward pass is the slower one for windows this short.
        "attn_implementation": "eager" if loading.device.type == "cpu" else "sdpa",
        "trust_remote_code": False,
        "device_map": {"": loading.device},
        "quantization_config": _nf4(loading.dtype) if loading.quantization == "nf4" else None,
        "dtype": loading.dtype,
    }


def _nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=False,
        bnb_4bit_compute_dtype=dtype,
    )


def _hush_progress_bars() -> None:
    """Loading takes a second; the bars of a download are huggingface_hub's and stay."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def text_encoder(bert: PreTrainedModel, pooling: Pooling = "pooler") -> TextEncoder:
    """A BERT model with adapters.

    Raises:
        LogLLMError: it is not of BERT's architecture.
    """
    _check_bert(bert, pooling)
    return TextEncoder(_with_adapters(bert, ENCODER_LORA), pooling)


def _check_bert(bert: PreTrainedModel, pooling: Pooling) -> None:
    if getattr(bert, "pooler", None) is None and pooling == "pooler":
        raise LogLLMError(
            f"The encoder is a {type(bert).__name__} without a pooler; a BERT model is wanted, or "
            "--set pooling=mean."
        )


def assemble(
    encoder: nn.Module | None,
    decoder: PreTrainedModel,
    decoder_tokenizer: Tokenizer,
    *,
    question: str = QUESTION,
    depth: float = 1.0,
) -> LogLLM:
    """Put LoRA adapters on the decoder, join it with the encoder by a fresh projector, freeze all.

    Args:
        encoder: from `text_encoder`, an `IdEncoder`, or None for messages as text.
        depth: the share of the decoder's layers that is used.

    Raises:
        LogLLMError: the decoder is not of Llama's architecture.
    """
    if not hasattr(getattr(decoder, "model", None), "embed_tokens"):
        raise LogLLMError(
            f"The decoder is a {type(decoder).__name__}; a Llama-like model is wanted, with its "
            "layers in `model` and its token embeddings in `model.embed_tokens`."
        )
    leave_out_layers(decoder, depth)
    width = decoder.config.hidden_size
    model = LogLLM(
        encoder=encoder,
        projector=None if encoder is None else nn.Linear(_width(encoder), width),
        decoder=_with_adapters(decoder, DECODER_LORA),
        prompt=tokenize_prompt(decoder_tokenizer, question=question),
    )
    set_trainable(model, ())
    return model


def _width(encoder: nn.Module) -> int:
    if isinstance(encoder, IdEncoder):
        return encoder.embedding.embedding_dim
    return int(cast(Any, encoder).bert.config.hidden_size)


def _with_adapters(backbone: PreTrainedModel, lora: Lora) -> PreTrainedModel:
    # Here, as to import it takes seconds, and a run whose results are there needs no adapters.
    from peft import LoraConfig, inject_adapter_in_model

    backbone.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(**lora._asdict()), backbone)
    for name, parameter in backbone.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    numbers = {name: number for number, name in enumerate(sorted(lora.target_modules))}
    for name, module in list(backbone.named_modules()):
        if name.endswith("lora_dropout"):
            number = numbers[name.split(".")[-2]]
            cast(nn.ModuleDict, module)["default"] = QuickDropout(lora.lora_dropout, number)
    return backbone


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
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = bool(parts)
    return chosen
