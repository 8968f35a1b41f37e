"""The current model's judgement of windows of new logs, which no artifact holds.

Nothing that was asked before is asked again, see memory.py: neither a window whose masked messages
repeat, nor the encoder about a message. Detection takes no claim of the graphics card: a training
holds that for hours, and new logs would wait for it.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch

from logllm_core.detection import DECISION
from logllm_core.detection.localization import contributions
from logllm_core.detection.memory import Memory
from logllm_core.detection.scoring import MAX_LOCALIZED
from logllm_core.errors import LogLLMError
from logllm_core.logs.streaming import NewWindow, check_masking
from logllm_core.model import backbones
from logllm_core.model.batches import Collator, EncoderVectors
from logllm_core.model.devices import devices_of, explained_shortage
from logllm_core.model.logllm import encode_messages
from logllm_core.model.places import Places
from logllm_core.model.scoring import score_windows
from logllm_core.model.vocabulary import IdVocabulary, TextVocabulary, TokenizedVocabulary
from logllm_core.store import Artifact
from logllm_core.training.recipes import Recipe
from logllm_core.training.trained import load_weights

DIGEST_BYTES = 16
DAY_SECONDS = 86_400.0
Texts = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What the model says of one window."""

    probability: float  # of "anomalous" against "normal"
    contributions: Mapping[str, float] | None  # by masked message; None: normal, or not localized
    num_unseen_lines: int | None
    is_reused: bool  # the same window was scored before, or is in the same batch

    @property
    def is_flagged(self) -> bool:
        return self.probability > DECISION


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What is remembered of a window."""

    probability: float
    contributed: tuple[tuple[int, float], ...] | None = None  # by a message's first place

    @property
    def payload(self) -> bytes:
        return json.dumps([self.probability, self.contributed]).encode()

    @classmethod
    def of(cls, payload: bytes) -> "_Answer":
        probability, contributed = json.loads(payload)
        return cls(
            probability=probability,
            contributed=None if contributed is None else tuple(map(tuple, contributed)),
        )


class Judge:
    """A trained model, loaded once, and what it was asked before.

    Args:
        trained: the last stage.
        known_texts: the masked messages of its training log, where they are still there.
        memory: of this model.

    Raises:
        LogLLMError: the model knows messages by the ids of its training log alone, or reads lines
            with a masking that new ones have not.
    """

    def __init__(
        self,
        *,
        places: Places,
        recipe: Recipe,
        trained: Artifact,
        known_texts: Set[str] | None,
        memory: Memory,
    ) -> None:
        if recipe.embedder == "message-id":
            raise LogLLMError(
                f"{trained.dataset}: the current model knows messages by their ids in its training "
                'log, so it cannot judge a new one. Train one with the embedder "encoder" or '
                '"none", and promote it: logllm models promote RUN.'
            )
        check_masking(recipe.masking)
        (device,) = devices_of(1)
        with explained_shortage():
            loaded = load_weights(places, recipe, trained, device=device)
        self.fingerprint = trained.fingerprint
        self._model = loaded.model
        backbones.set_trainable(self._model, ())
        self._tokenizers = loaded.encoder_tokenizer, loaded.decoder_tokenizer
        self._recipe = recipe
        self._known_texts = known_texts
        self._memory = memory
        self._num_to_localize = MAX_LOCALIZED
        self._day_ends = time.monotonic() + DAY_SECONDS

    def judge(self, windows: Sequence[NewWindow]) -> list[Judgement]:
        """In the order given.

        Of more than MAX_LOCALIZED distinct flagged windows in a day the further ones are not
        localized: a model that flags all would else fall behind the log that it follows.
        """
        if time.monotonic() >= self._day_ends:
            self._num_to_localize = MAX_LOCALIZED
            self._day_ends = time.monotonic() + DAY_SECONDS
        cut = [window.texts[: self._recipe.max_window_messages] for window in windows]
        digest_of = {text: _digest(text.encode()) for texts in cut for text in texts}
        digests = [_digest(b"".join(map(digest_of.__getitem__, texts))) for texts in cut]
        distinct = dict(zip(digests, cut, strict=True))
        payloads = self._memory.recall("windows", distinct)
        answers = {digest: _Answer.of(payload) for digest, payload in payloads.items()}
        with explained_shortage():
            answers |= self._scored({d: t for d, t in distinct.items() if d not in answers})
            answers |= self._localized(distinct, answers)
        found = []
        known = set(payloads)
        for digest, texts, window in zip(digests, cut, windows, strict=True):
            found.append(
                Judgement(
                    probability=answers[digest].probability,
                    contributions=_by_text(answers[digest], texts),
                    num_unseen_lines=self._num_unseen(window.texts),
                    is_reused=digest in known,
                )
            )
            known.add(digest)
        return found

    def _scored(self, asked: Mapping[bytes, Texts]) -> dict[bytes, _Answer]:
        if not asked:
            return {}
        windows, collator, vectors = self._laid_out(list(asked.values()))
        chances = score_windows(self._model, collator, windows, vectors)
        found = {
            digest: _Answer(probability=chance)
            for digest, chance in zip(asked, chances.tolist(), strict=True)
        }
        self._memory.remember("windows", {d: answer.payload for d, answer in found.items()})
        return found

    def _localized(
        self, distinct: Mapping[bytes, Texts], answers: Mapping[bytes, _Answer]
    ) -> dict[bytes, _Answer]:
        """Answers about flagged windows, now with what their messages contributed."""
        flagged = [
            digest
            for digest, answer in answers.items()
            if answer.probability > DECISION and answer.contributed is None
        ][: self._num_to_localize]
        if not flagged:
            return {}
        self._num_to_localize -= len(flagged)
        texts = [distinct[digest] for digest in flagged]
        windows, collator, vectors = self._laid_out(texts)
        localized = contributions(self._model, collator, windows, vectors)
        found = {
            digest: _Answer(
                probability=answers[digest].probability,
                contributed=tuple((ids.index(message), value) for message, value in own.items()),
            )
            for digest, ids, own in zip(flagged, windows, localized, strict=True)
        }
        self._memory.remember("windows", {d: answer.payload for d, answer in found.items()})
        return found

    def _laid_out(
        self, windows: Sequence[Texts]
    ) -> tuple[list[tuple[int, ...]], Collator, EncoderVectors | None]:
        """Windows as ids of their own distinct messages, and what the model reads of these."""
        ids = {
            text: n
            for n, text in enumerate(dict.fromkeys(text for texts in windows for text in texts))
        }
        vectors: EncoderVectors | None = None
        vocabulary: IdVocabulary | TextVocabulary = IdVocabulary()  # not asked: vectors are given
        if self._recipe.embedder == "none":
            vocabulary = TextVocabulary(
                list(ids),
                self._tokenizers[1],
                max_message_tokens=self._recipe.max_message_tokens,
            )
        else:
            vectors = self._vectors(list(ids))
        collator = Collator(
            prompt=self._model.prompt,
            vocabulary=vocabulary,
            max_window_messages=self._recipe.max_window_messages,
            max_window_tokens=self._recipe.max_window_tokens,
        )
        return [tuple(map(ids.__getitem__, texts)) for texts in windows], collator, vectors

    def _vectors(self, texts: Sequence[str]) -> EncoderVectors:
        digests = [_digest(text.encode()) for text in texts]
        known = self._memory.recall("vectors", digests)
        rows = {d: np.frombuffer(payload, dtype=np.float32) for d, payload in known.items()}
        if new := {d: text for d, text in zip(digests, texts, strict=True) if d not in known}:
            vocabulary = TokenizedVocabulary(
                list(new.values()),
                self._tokenizers[0],
                max_message_tokens=self._recipe.max_message_tokens,
            )
            encoded = encode_messages(self._model, vocabulary, np.arange(len(new)))
            encoded_ME = encoded.vectors_ME[torch.from_numpy(encoded.row_of)].numpy()
            rows |= dict(zip(new, encoded_ME, strict=True))
            self._memory.remember("vectors", {d: rows[d].tobytes() for d in new})
        return EncoderVectors(
            vectors_ME=torch.from_numpy(np.stack([rows[digest] for digest in digests])),
            row_of=np.arange(len(texts)),
        )

    def _num_unseen(self, texts: Texts) -> int | None:
        if self._known_texts is None:
            return None
        return sum(text not in self._known_texts for text in texts)


def _by_text(answer: _Answer, texts: Texts) -> dict[str, float] | None:
    if answer.contributed is None:
        return None
    return {texts[place]: value for place, value in answer.contributed}


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
