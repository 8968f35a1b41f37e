"""From a pretrained encoder and decoder to LogLLM: adapters on both, a projector between them."""

from typing import Any, cast

from torch import nn

from logllm_core.errors import LogLLMError
from logllm_core.model import Pooling
from logllm_core.model.adapters import DECODER_LORA, ENCODER_LORA, add_adapters
from logllm_core.model.encoders import IdEncoder, TextEncoder
from logllm_core.model.logllm import LogLLM
from logllm_core.model.prompt import QUESTION, Tokenizer, tokenize_prompt
from logllm_core.model.weights import set_trainable

FRONT = 0.6  # of the decoder's layers that are kept: those before the gap


def text_encoder(bert: nn.Module, pooling: Pooling = "pooler") -> TextEncoder:
    """A BERT model with adapters.

    Raises:
        LogLLMError: it is not of BERT's architecture.
    """
    check_encoder(bert, pooling)
    add_adapters(bert, ENCODER_LORA)
    return TextEncoder(bert, pooling)


def check_encoder(bert: nn.Module, pooling: Pooling) -> None:
    if getattr(bert, "pooler", None) is None and pooling == "pooler":
        raise LogLLMError(
            f"The encoder is a {type(bert).__name__} without a pooler; a BERT model is wanted, or "
            "--set pooling=mean."
        )


def assemble(
    encoder: nn.Module | None,
    decoder: Any,
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
    projector = None if encoder is None else nn.Linear(_width(encoder), width)
    add_adapters(decoder, DECODER_LORA)
    model = LogLLM(
        encoder=encoder,
        projector=projector,
        decoder=decoder,
        prompt=tokenize_prompt(decoder_tokenizer, question=question),
    )
    set_trainable(model, ())
    return model


def _width(encoder: nn.Module) -> int:
    if isinstance(encoder, IdEncoder):
        return encoder.embedding.embedding_dim
    return int(cast(Any, encoder).bert.config.hidden_size)


def kept_layers(num_layers: int, depth: float) -> list[int]:
    """Numbers of the layers that are kept, from 0: at least the first and the last.

    Args:
        depth: the wanted share of them, above 0 and at most 1.
    """
    num_kept = max(round(depth * num_layers), min(num_layers, 2))
    num_front = round(FRONT * num_kept)
    return [*range(num_front), *range(num_layers - num_kept + num_front, num_layers)]


def leave_out_layers(decoder: Any, depth: float) -> None:
    """Shorten a Llama-architecture decoder in place, before it has adapters.

    What passes through a deep decoder is changed least by layers past its middle, so that many of
    them can go, if training mends the rest; the last ones turn states into words and stay (Men et
    al. 2024, arXiv 2403.03853; Gromov et al. 2024, arXiv 2403.17887). A step and a score cost as
    much less.
    """
    layers, config = decoder.model.layers, decoder.config
    kept = kept_layers(len(layers), depth)
    decoder.model.layers = nn.ModuleList([layers[number] for number in kept])
    if getattr(config, "layer_types", None):  # of decoders with kinds of attention
        config.layer_types = [config.layer_types[number] for number in kept]
    config.num_hidden_layers = len(kept)
