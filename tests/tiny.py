"""Two-layer backbones of a few thousand weights, small and real.

transformers takes seconds to import, and is imported where the first of them is made.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

from logllm_core.model import Embedder
from logllm_core.model.assemble import assemble, text_encoder
from logllm_core.model.batches import Collator
from logllm_core.model.encoders import IdEncoder
from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import (
    EncoderVocabulary,
    IdVocabulary,
    TextVocabulary,
    TokenizedVocabulary,
)
from logllm_core.model.prompt import ANSWERS, INTRODUCTION, QUESTION

if TYPE_CHECKING:
    from transformers import BertModel, LlamaForCausalLM, PreTrainedTokenizerFast

ENCODER_WIDTH, DECODER_WIDTH = 16, 32
WORDS = ["alpha", "beta", "gamma", "delta", "ok", "failed", "read", "write", "disk", *"<*>"]


def _tokenizer(words: list[str], special: list[str], *, lowercase: bool) -> Tokenizer:
    vocabulary = {word: place for place, word in enumerate([*special, *dict.fromkeys(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def encoder_tokenizer() -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    tokenizer = _tokenizer(WORDS, ["[UNK]", "[PAD]", "[CLS]", "[SEP]"], lowercase=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def decoder_tokenizer(*, has_bos: bool = True) -> "PreTrainedTokenizerFast":
    """Like Llama's with `has_bos`, like SmolLM2's without."""
    from transformers import PreTrainedTokenizerFast

    text = " ".join([INTRODUCTION, QUESTION, *ANSWERS])
    words = [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)]
    words += [*WORDS, ";"]  # for messages that are given as text
    tokenizer = _tokenizer(words, ["<unk>", "<s>", "</s>"], lowercase=False)
    if has_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def encoder() -> "BertModel":
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(
            vocab_size=len(encoder_tokenizer()),
            hidden_size=ENCODER_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            initializer_range=0.3,
        )
    )


def decoder() -> "LlamaForCausalLM":
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(decoder_tokenizer()),
            hidden_size=DECODER_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=64,
            initializer_range=0.3,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def model(
    seed: int = 0, *, has_bos: bool = True, embedder: Embedder = "encoder", num_known: int = 4
) -> LogLLM:
    """With the embedder `message-id`, messages from 0 up to `num_known` are known."""
    torch.manual_seed(seed)
    encoders: dict[Embedder, Callable[[], nn.Module | None]] = {
        "encoder": lambda: text_encoder(encoder()),
        "message-id": lambda: IdEncoder(torch.arange(num_known), ENCODER_WIDTH),
        "none": lambda: None,
    }
    return assemble(encoders[embedder](), decoder(), decoder_tokenizer(has_bos=has_bos))


def vocabulary(texts: list[str]) -> TokenizedVocabulary:
    return TokenizedVocabulary(texts, encoder_tokenizer(), max_message_tokens=16)


def collator(texts: list[str], of: LogLLM, *, embedder: Embedder = "encoder") -> Collator:
    vocabularies: dict[Embedder, Callable[[], EncoderVocabulary | TextVocabulary]] = {
        "encoder": lambda: vocabulary(texts),
        "message-id": IdVocabulary,
        "none": lambda: TextVocabulary(texts, decoder_tokenizer(), max_message_tokens=16),
    }
    return Collator(prompt=of.prompt, vocabulary=vocabularies[embedder]())


def save(folder: Path) -> str:
    """Write both models below `folder`; returns what --backbones takes."""
    torch.manual_seed(0)
    for name, network, tokenizer in (
        ("encoder", encoder(), encoder_tokenizer()),
        ("decoder", decoder(), decoder_tokenizer()),
    ):
        network.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return f"{folder / 'encoder'},{folder / 'decoder'}"
