"""The question that frames a window, and the two answers (paper, section IV-B and figure 3)."""

from dataclasses import dataclass
from typing import Protocol

from logllm_core.errors import LogLLMError

INTRODUCTION = "Below is a sequence of system log messages:"
# A backslash and an n, two characters, as in the paper's figure and its code.
QUESTION = ". Is this sequence normal or anomalous? \\n"
ANSWERS = ("The sequence is normal.", "The sequence is anomalous.")  # indexed by is_anomalous


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that the prompt needs."""

    eos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptTokens:
    """Decoder tokens around a window's messages.

    A decoder input is `introduction`, one projected vector per message, `question`, and an answer.
    """

    introduction: tuple[int, ...]
    question: tuple[int, ...]
    answers: tuple[tuple[int, ...], tuple[int, ...]]  # indexed by is_anomalous, each ends in EOS

    @property
    def num_shared_answer_tokens(self) -> int:
        """How many tokens both answers begin with; the next one decides the verdict."""
        normal, anomalous = self.answers
        pairs = zip(normal, anomalous, strict=False)
        return next(position for position, (a, b) in enumerate(pairs) if a != b)

    @property
    def deciding_tokens(self) -> tuple[int, int]:
        """The first token of each answer that the other has not, indexed by is_anomalous."""
        normal, anomalous = self.answers
        position = self.num_shared_answer_tokens
        return normal[position], anomalous[position]


def tokenize_prompt(tokenizer: Tokenizer, *, question: str = QUESTION) -> PromptTokens:
    """Tokenise the prompt once.

    Whether a sequence starts with a BOS token is the tokenizer's own knowledge: it adds its special
    tokens to the introduction and to nothing else. Cutting "the first token" of the later parts, as
    the reference code does, would lose a word where the tokenizer has no BOS (SmolLM2, Qwen).
    """
    eos = tokenizer.eos_token_id
    if eos is None:
        raise LogLLMError(
            "The decoder's tokenizer has no end-of-sequence token; an answer needs it."
        )

    def plain(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    first = list(tokenizer.encode(INTRODUCTION, add_special_tokens=True))
    if first and first[-1] == eos:  # some tokenizers close every text; ours goes on
        first.pop()
    normal, anomalous = ANSWERS
    return PromptTokens(
        introduction=tuple(first),
        question=plain(question),
        answers=((*plain(normal), eos), (*plain(anomalous), eos)),
    )
