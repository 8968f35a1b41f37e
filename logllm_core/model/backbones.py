"""Pretrained encoders and decoders: loading, precision, quantisation, LoRA.

The one room that knows transformers, peft and bitsandbytes. Everything else takes modules.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, inject_adapter_in_model
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from logllm_core.errors import LogLLMError
from logllm_core.model import PARTS, Part, Quantization
from logllm_core.model.batches import MessageTokenizer
from logllm_core.model.logllm import LogLLM
from logllm_core.model.places import Places, backbones_named, local_place
from logllm_core.model.prompt import QUESTION, Tokenizer, tokenize_prompt
from logllm_core.store import Json, Store

VERSION = 1  # raise when the re-saved decoder would differ


# Section V-B and the reference code: r, alpha, dropout and the layers that get an adapter.
ENCODER_LORA = LoraConfig(
    r=4, lora_alpha=32, lora_dropout=0.01, target_modules=["query", "value"], bias="none"
)
DECODER_LORA = LoraConfig(
    r=8,
    lora_alpha=16,
    lora_dropout=0.1,
    target_modules=["q_proj", "v_proj"],
    bias="none",
)


def find_backbones(store: Store, name: str) -> Places:
    """The places of the backbones; a GGUF decoder is re-saved into the store once."""
    named = backbones_named(name)
    decoder = local_place(named.decoder)
    if decoder.endswith(".gguf"):
        if not Path(decoder).is_file():
            raise LogLLMError(f"There is no file {decoder}. Mend --backbones.")
        artifact = store.reuse_or_build(
            "backbones",
            Path(decoder).stem,
            config={"decoder": named.decoder, "size_bytes": Path(decoder).stat().st_size},
            inputs={},
            version=VERSION,
            build=lambda out_dir: _save_gguf_as_safetensors(Path(decoder), out_dir),
        )
        decoder = str(artifact.path)
    return Places(named=named, encoder=local_place(named.encoder), decoder=decoder)


def _save_gguf_as_safetensors(gguf: Path, out_dir: Path) -> dict[str, Json]:
    """Re-save a GGUF decoder and its tokenizer, so that it can be loaded quantised and fast."""
    kwargs: dict[str, Any] = {"gguf_file": gguf.name}
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


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bf16 else torch.float32


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_backbones(
    places: Places,
    *,
    quantization: Quantization,
    device: torch.device,
    dtype: torch.dtype,
    question: str = QUESTION,
) -> tuple[LogLLM, MessageTokenizer]:
    """The untrained LogLLM model with fresh LoRA adapters, and the encoder's tokenizer.

    Weights come from safetensors only and no code from a hub is run. Fresh weights are drawn from
    torch's global generator: seed it first.

    Args:
        places: hub ids or folders.
        quantization: "nf4" loads both backbones in 4 bits (QLoRA: no double quantisation).
        device: where the model lives.
        dtype: of frozen weights and products; adapters and projector stay float32.
        question: what the decoder is asked after the messages.

    Raises:
        LogLLMError: the models are not to be had, or are not of the two architectures.
    """
    _hush_progress_bars()
    kwargs: dict[str, Any] = {
        "use_safetensors": True,
        # On CPUs the fused kernel's backward pass is the slower one for windows this short.
        "attn_implementation": "eager" if device.type == "cpu" else "sdpa",
        "trust_remote_code": False,
        "device_map": {"": device},
        "quantization_config": _nf4(dtype) if quantization == "nf4" else None,
        "dtype": dtype,
    }
    try:
        encoder = AutoModel.from_pretrained(places.encoder, **kwargs)
        decoder = AutoModelForCausalLM.from_pretrained(places.decoder, **kwargs)
        encoder_tokenizer = AutoTokenizer.from_pretrained(places.encoder, trust_remote_code=False)
        decoder_tokenizer = AutoTokenizer.from_pretrained(places.decoder, trust_remote_code=False)
        model = assemble(encoder, decoder, cast(Tokenizer, decoder_tokenizer), question)
    except (OSError, ValueError, SafetensorError) as fault:  # transformers raises any of them
        reason = next(iter(str(fault).splitlines()), type(fault).__name__)
        raise LogLLMError(
            f"The backbones {places.encoder} and {places.decoder} cannot be loaded: {reason} Give "
            "hub ids that you may read (for gated models, log in with `hf auth login`) or folders "
            "that hold config.json and safetensors."
        ) from fault
    return model.to(device), cast(MessageTokenizer, encoder_tokenizer)


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


def assemble(
    encoder: PreTrainedModel,
    decoder: PreTrainedModel,
    decoder_tokenizer: Tokenizer,
    question: str = QUESTION,
) -> LogLLM:
    """Freeze the backbones, put LoRA adapters on both, join them with a fresh projector.

    Raises:
        LogLLMError: the encoder is not of BERT's architecture, or the decoder not of Llama's.
    """
    if getattr(encoder, "pooler", None) is None:
        raise LogLLMError(
            f"The encoder is a {type(encoder).__name__} without a pooler; a BERT model is wanted."
        )
    if not hasattr(getattr(decoder, "model", None), "embed_tokens"):
        raise LogLLMError(
            f"The decoder is a {type(decoder).__name__}; a Llama-like model is wanted, with its "
            "layers in `model` and its token embeddings in `model.embed_tokens`."
        )
    projector = nn.Linear(encoder.config.hidden_size, decoder.config.hidden_size)
    model = LogLLM(
        encoder=_with_adapters(encoder, ENCODER_LORA),
        decoder=_with_adapters(decoder, DECODER_LORA),
        projector=projector,
        prompt=tokenize_prompt(decoder_tokenizer, question=question),
    )
    set_trainable(model, ())
    return model


def _with_adapters(backbone: PreTrainedModel, lora: LoraConfig) -> PreTrainedModel:
    backbone.requires_grad_(False)
    inject_adapter_in_model(lora, backbone)
    for name, parameter in backbone.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return backbone


def trainable_parameters(model: LogLLM, part: Part) -> Iterator[tuple[str, nn.Parameter]]:
    """What a stage may train of a part: the projector whole, of a backbone its adapters."""
    for name, parameter in getattr(model, part).named_parameters(prefix=part):
        if part == "projector" or "lora_" in name:
            yield name, parameter


def set_trainable(model: LogLLM, parts: tuple[Part, ...]) -> list[nn.Parameter]:
    """Freeze all but the trainable weights of `parts`; returns those. With no parts: to score.

    A part that trains has its LoRA dropout on; the backbone's own dropout stays off, as in the
    reference code, which never calls `.train()`.
    """
    model.eval()
    model.requires_grad_(False)
    for module in model.modules():
        # On CPUs a 4-bit layer that runs in evaluation mode is repacked, for good, into a form that
        # has no backward pass. It has no dropout of its own.
        if isinstance(module, Linear4bit):
            module.training = True
    chosen = []
    for part in parts:
        for _, parameter in trainable_parameters(model, part):
            parameter.requires_grad_(True)
            chosen.append(parameter)
        for name, module in getattr(model, part).named_modules():
            if "lora_dropout" in name:
                module.train()
    return chosen


def trainable_state(model: LogLLM) -> dict[str, Tensor]:
    """The weights that training may change, by name: projector and adapters, on the CPU."""
    return {
        name: parameter.detach().cpu().contiguous().clone()
        for part in PARTS
        for name, parameter in trainable_parameters(model, part)
    }


def load_trainable_state(model: LogLLM, state: Mapping[str, Tensor]) -> None:
    """The inverse of `trainable_state`.

    Raises:
        LogLLMError: the weights belong to other backbones.
    """
    own = {name: p for part in PARTS for name, p in trainable_parameters(model, part)}
    strange = set(own.keys() ^ state.keys()) or {
        name for name in own if own[name].shape != state[name].shape
    }
    if strange:
        raise LogLLMError(
            f"The trained weights do not fit these backbones ({len(strange)} tensors differ, first "
            f"{min(strange)}). Load them with the backbones that they were trained with."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])
