"""The current model's judgement of windows of new logs, which no artifact holds.

The model reads so many messages at once, 128 in the paper. Training cuts longer windows, as the
paper does; but who pads a session would hide from a watch that cuts. So they are read in
overlapping excerpts here, and the most suspicious one decides.

Nothing that was asked before is asked again, see memory.py: neither an excerpt whose masked
messages repeat, nor the encoder about a message. Detection takes no claim of the graphics card: a
training holds that for hours, and new logs would wait for it.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import torch

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_stream import NewWindow, check_masking
from logllm_core.model.batches import Collator
from logllm_core.model.devices import devices_of, explained_shortage
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.logllm import encode_messages
from logllm_core.model.message_tokens import IdVocabulary, TextVocabulary, TokenizedVocabulary
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import score_windows
from logllm_core.scoring import DECISION
from logllm_core.scoring.answer_cache import Memory
from logllm_core.scoring.localize import contributions
from logllm_core.scoring.predictions import MAX_LOCALIZED
from logllm_core.store.store import Artifact
from logllm_core.training.recipes import Recipe
from logllm_core.training.trained_model import load_weights, text_vocabulary

DIGEST_BYTES = 16
DAY_SECONDS = 86_400.0
Texts = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What the model says of one window."""

    probability: float  # of "anomalous" against "normal"
    # Of each message of the excerpt that decided, by its first place there, counted in the window;
    # None: normal, or not localized.
    contributions: Mapping[int, float] | None
    num_unseen_lines: int | None
    num_cut_lines: int  # of whose message the model reads the beginning alone
    is_reused: bool  # all of it was scored before, or stands before it in the same batch

    @property
    def is_flagged(self) -> bool:
        return self.probability > DECISION


@dataclass(frozen=True, kw_only=True, slots=True)
class _Excerpt:
    """What the model reads at once: a window, or a part of a long one."""

    first: int  # its place in the window
    texts: Texts
    digest: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What is remembered of an excerpt."""

    probability: float
    cut: tuple[int, ...]  # places of lines of whose message the model reads the beginning alone
    contributed: tuple[tuple[int, float], ...] | None = None  # by a message's first place

    @property
    def payload(self) -> bytes:
        return json.dumps([self.probability, self.cut, self.contributed]).encode()

    @classmethod
    def of(cls, payload: bytes) -> "_Answer":
        probability, cut, contributed = json.loads(payload)
        return cls(
            probability=probability,
            cut=tuple(cut),
            contributed=None if contributed is None else tuple(map(tuple, contributed)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """Excerpts as ids of their own distinct messages, and what the model reads of these."""

    windows: Sequence[tuple[int, ...]]
    collator: Collator
    vectors: EncoderVectors | None
    cut_messages: Set[int]


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
        folders: BackboneFolders,
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
            loaded = load_weights(folders, recipe, trained, device=device)
        self.fingerprint = trained.fingerprint
        self._model = loaded.model
        set_trainable(self._model, ())
        self._tokenizers = loaded.encoder_tokenizer, loaded.decoder_tokenizer
        self._recipe = recipe
        self._known_texts = known_texts
        self._memory = memory
        self._num_to_localize = MAX_LOCALIZED
        self._day_ends = time.monotonic() + DAY_SECONDS

    def judge(self, windows: Sequence[NewWindow]) -> list[Judgement]:
        """In the order given; of a long window the most suspicious excerpt decides.

        Of more than MAX_LOCALIZED distinct flagged windows in a day the further ones are not
        localized: a model that flags all would else fall behind the log that it follows.
        """
        if time.monotonic() >= self._day_ends:
            self._num_to_localize = MAX_LOCALIZED
            self._day_ends = time.monotonic() + DAY_SECONDS
        excerpts = self._excerpts(windows)
        distinct = {one.digest: one.texts for own in excerpts for one in own}
        payloads = self._memory.recall("windows", distinct)
        answers = {digest: _Answer.of(payload) for digest, payload in payloads.items()}
        with explained_shortage():
            answers |= self._scored({d: t for d, t in distinct.items() if d not in answers})
            worst = [max(own, key=lambda one: answers[one.digest].probability) for own in excerpts]
            answers |= self._localized({one.digest: one.texts for one in worst}, answers)
        found = []
        known = set(payloads)
        for window, own, deciding in zip(windows, excerpts, worst, strict=True):
            answer = answers[deciding.digest]
            cut = {one.first + place for one in own for place in answers[one.digest].cut}
            found.append(
                Judgement(
                    probability=answer.probability,
                    contributions=None
                    if answer.contributed is None
                    else {deciding.first + place: value for place, value in answer.contributed},
                    num_unseen_lines=self._num_unseen(window.texts),
                    num_cut_lines=len(cut),
                    is_reused=all(one.digest in known for one in own),
                )
            )
            known.update(one.digest for one in own)
        return found

    def _excerpts(self, windows: Sequence[NewWindow]) -> list[list[_Excerpt]]:
        """Of each window, what the model reads at once, in log order; a short one is a whole."""
        texts = list(dict.fromkeys(text for window in windows for text in window.texts))
        ids = {text: n for n, text in enumerate(texts)}
        digests = [_digest(text.encode()) for text in texts]
        collator = self._collator(texts)
        found = []
        for window in windows:
            messages = [ids[text] for text in window.texts]
            found.append(
                [
                    _Excerpt(
                        first=part.start,
                        texts=window.texts[part],
                        digest=_digest(b"".join(digests[message] for message in messages[part])),
                    )
                    for part in collator.excerpts(messages)
                ]
            )
        return found

    def _scored(self, asked: Mapping[bytes, Texts]) -> dict[bytes, _Answer]:
        if not asked:
            return {}
        question = self._question(list(asked.values()))
        windows, cut = question.windows, question.cut_messages
        chances = score_windows(self._model, question.collator, windows, question.vectors)
        found = {
            digest: _Answer(
                probability=chance,
                cut=tuple(place for place, message in enumerate(ids) if message in cut),
            )
            for digest, chance, ids in zip(asked, chances.tolist(), windows, strict=True)
        }
        self._memory.remember("windows", {d: answer.payload for d, answer in found.items()})
        return found

    def _localized(
        self, deciding: Mapping[bytes, Texts], answers: Mapping[bytes, _Answer]
    ) -> dict[bytes, _Answer]:
        """Answers about flagged excerpts, now with what their messages contributed."""
        flagged = [
            digest
            for digest in deciding
            if answers[digest].probability > DECISION and answers[digest].contributed is None
        ][: self._num_to_localize]
        if not flagged:
            return {}
        self._num_to_localize -= len(flagged)
        question = self._question([deciding[digest] for digest in flagged])
        windows = question.windows
        localized = contributions(self._model, question.collator, windows, question.vectors)
        found = {
            digest: replace(
                answers[digest],
                contributed=tuple((ids.index(message), value) for message, value in own.items()),
            )
            for digest, ids, own in zip(flagged, windows, localized, strict=True)
        }
        self._memory.remember("windows", {d: answer.payload for d, answer in found.items()})
        return found

    def _question(self, excerpts: Sequence[Texts]) -> _Question:
        texts = list(dict.fromkeys(text for own in excerpts for text in own))
        ids = {text: n for n, text in enumerate(texts)}
        collator = self._collator(texts)
        vectors, cut_messages = None, collator.vocabulary.cut_messages
        if self._recipe.embedder != "none":
            vectors, cut_messages = self._vectors(texts)
        return _Question(
            windows=[tuple(map(ids.__getitem__, own)) for own in excerpts],
            collator=collator,
            vectors=vectors,
            cut_messages=cut_messages,
        )

    def _collator(self, texts: Sequence[str]) -> Collator:
        """For messages whose ids are their places here."""
        vocabulary: IdVocabulary | TextVocabulary = IdVocabulary()  # not asked: vectors are given
        if self._recipe.embedder == "none":
            vocabulary = text_vocabulary(texts, self._recipe, self._tokenizers[1])
        return Collator(
            prompt=self._model.prompt,
            vocabulary=vocabulary,
            max_window_messages=self._recipe.max_window_messages,
            max_window_tokens=self._recipe.max_window_tokens,
        )

    def _vectors(self, texts: Sequence[str]) -> tuple[EncoderVectors, frozenset[int]]:
        """The encoder's vectors of these messages, and the places of those that it reads in part.

        What is remembered is the vector, and after it a byte that tells whether the message is cut.
        """
        digests = [_digest(text.encode()) for text in texts]
        rows = self._memory.recall("vectors", digests)
        if new := {d: text for d, text in zip(digests, texts, strict=True) if d not in rows}:
            vocabulary = TokenizedVocabulary(
                list(new.values()),
                self._tokenizers[0],
                max_message_tokens=self._recipe.max_message_tokens,
            )
            encoded = encode_messages(self._model, vocabulary, np.arange(len(new)))
            encoded_ME = encoded.vectors_ME[torch.from_numpy(encoded.row_of)].numpy()
            are_cut = [place in vocabulary.cut_messages for place in range(len(new))]
            payloads = {
                digest: row.tobytes() + bytes([is_cut])
                for digest, row, is_cut in zip(new, encoded_ME, are_cut, strict=True)
            }
            self._memory.remember("vectors", payloads)
            rows |= payloads
        payload_of = [rows[digest] for digest in digests]
        vectors_ME = np.stack([np.frombuffer(row[:-1], dtype=np.float32) for row in payload_of])
        vectors = EncoderVectors(
            vectors_ME=torch.from_numpy(vectors_ME), row_of=np.arange(len(texts))
        )
        return vectors, frozenset(place for place, row in enumerate(payload_of) if row[-1])

    def _num_unseen(self, texts: Texts) -> int | None:
        if self._known_texts is None:
            return None
        return sum(text not in self._known_texts for text in texts)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
