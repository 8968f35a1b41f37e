"""What a model reads of messages: those of a prepared log, and those of new lines."""

import hashlib
from collections.abc import Sequence, Set

import numpy as np
import torch

from logllm_core.model.backbones import Loaded
from logllm_core.model.batches import Collator
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.logllm import LogLLM, encode_messages
from logllm_core.model.message_tokens import IdVocabulary, TextVocabulary, TokenizedVocabulary
from logllm_core.model.window_answers import encode_windows
from logllm_core.scoring.answer_cache import Memory
from logllm_core.scoring.judge import Ids
from logllm_core.training.recipes import Recipe
from logllm_core.training.trained_model import text_vocabulary

DIGEST_BYTES = 16


class PreparedMessages:
    """The vocabulary of a prepared log, whose messages are encoded once.

    Args:
        windows: all that will be asked about.
    """

    def __init__(self, model: LogLLM, collator: Collator, windows: Sequence[Ids]) -> None:
        self.collator = collator
        self._vectors = encode_windows(model, collator, windows)

    def vectors(self, _excerpts: Sequence[Ids]) -> EncoderVectors | None:
        return self._vectors

    def cut_messages(self, _excerpts: Sequence[Ids]) -> Set[int]:
        return self.collator.vocabulary.cut_messages


class NewMessages:
    """Messages that no artifact holds; what the encoder says of them is remembered.

    Args:
        texts: masked messages, by their ids.
    """

    def __init__(
        self, loaded: Loaded, recipe: Recipe, texts: Sequence[str], memory: Memory
    ) -> None:
        self._loaded, self._recipe, self._memory = loaded, recipe, memory
        self._texts = texts
        self._digests = [_digest(text.encode()) for text in texts]
        self._known: tuple[set[int], EncoderVectors, Set[int]] | None = None
        vocabulary: IdVocabulary | TextVocabulary = IdVocabulary()  # not asked: vectors are given
        if recipe.embedder == "none":
            vocabulary = text_vocabulary(texts, recipe, loaded.decoder_tokenizer)
        self.collator = Collator(
            prompt=loaded.model.prompt,
            vocabulary=vocabulary,
            max_window_messages=recipe.max_window_messages,
            max_window_tokens=recipe.max_window_tokens,
        )

    def digest(self, excerpt: Ids) -> bytes:
        return _digest(b"".join(self._digests[message] for message in excerpt))

    def vectors(self, excerpts: Sequence[Ids]) -> EncoderVectors | None:
        return None if self._recipe.embedder == "none" else self._read(excerpts)[0]

    def cut_messages(self, excerpts: Sequence[Ids]) -> Set[int]:
        if self._recipe.embedder == "none":
            return self.collator.vocabulary.cut_messages
        return self._read(excerpts)[1]

    def _read(self, excerpts: Sequence[Ids]) -> tuple[EncoderVectors, Set[int]]:
        """The encoder's vectors of their messages, and those messages that it reads in part.

        What is remembered is the vector, and after it a byte that tells whether the message is cut.
        """
        wanted = sorted({message for excerpt in excerpts for message in excerpt})
        if self._known is None or not self._known[0].issuperset(wanted):
            digests = [self._digests[message] for message in wanted]
            payloads = self._memory.recall("vectors", digests)
            payloads |= self._encoded([m for m in wanted if self._digests[m] not in payloads])
            rows = [payloads[digest] for digest in digests]
            vectors_ME = np.stack([np.frombuffer(row[:-1], dtype=np.float32) for row in rows])
            row_of = np.zeros(len(self._texts), dtype=np.int64)
            row_of[wanted] = np.arange(len(wanted))
            vectors = EncoderVectors(vectors_ME=torch.from_numpy(vectors_ME), row_of=row_of)
            cut = {message for message, row in zip(wanted, rows, strict=True) if row[-1]}
            self._known = set(wanted), vectors, cut
        return self._known[1:]

    def _encoded(self, messages: Sequence[int]) -> dict[bytes, bytes]:
        if not messages:
            return {}
        vocabulary = TokenizedVocabulary(
            [self._texts[message] for message in messages],
            self._loaded.encoder_tokenizer,
            max_message_tokens=self._recipe.max_message_tokens,
        )
        encoded = encode_messages(self._loaded.model, vocabulary, np.arange(len(messages)))
        encoded_ME = encoded.vectors_ME[torch.from_numpy(encoded.row_of)].numpy()
        payloads = {
            self._digests[message]: row.tobytes() + bytes([number in vocabulary.cut_messages])
            for number, (message, row) in enumerate(zip(messages, encoded_ME, strict=True))
        }
        self._memory.remember("vectors", payloads)
        return payloads


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
