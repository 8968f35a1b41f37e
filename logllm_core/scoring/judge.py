"""What a trained model says of windows, be they of a split or of a log that grows.

The model reads so many messages at once, 128 in the paper. Training cuts longer windows, as the
paper does; but who pads a session would hide from a watch that cuts. So they are read in
overlapping excerpts here, and the most suspicious one decides.

Windows are message ids. What the model reads of a message, and whether it is remembered, is for
`Messages` to say; with a memory, no excerpt is scored or localized again that was before.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from logllm_core.model.batches import Collator
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.logllm import LogLLM
from logllm_core.model.window_answers import probabilities, score_log_odds
from logllm_core.scoring import DECISION
from logllm_core.scoring.answer_cache import Memory
from logllm_core.scoring.localize import contributions

MAX_LOCALIZED = 2_000  # distinct windows: a model that flags all would take days
Ids = tuple[int, ...]


class Messages(Protocol):
    """Messages as one model reads them, by their ids."""

    @property
    def collator(self) -> Collator:
        """Knows how much of a window the model reads at once."""

    def vectors(self, excerpts: Sequence[Ids]) -> EncoderVectors | None:
        """Encoder vectors of the messages of these excerpts at least, where the model has them."""

    def cut_messages(self, excerpts: Sequence[Ids]) -> Set[int]:
        """Those of their messages of which the model reads the beginning alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgements:
    """What the model says of windows, in their order."""

    log_odds: NDArray[np.float64]  # of "anomalous" against "normal", of the excerpt that decides
    first_log_odds: NDArray[np.float64]  # of the first excerpt, which is what a cut would leave
    deciding: list[Ids]  # the excerpt that decides
    num_excerpts: NDArray[np.int64]
    num_cut_lines: NDArray[np.int64]  # of whose message the model reads the beginning alone
    # Of each message of the excerpt that decides, by its first line there, counted in the window;
    # None: normal, or not localized.
    contributions: list[Mapping[int, float] | None]
    are_reused: NDArray[np.bool_]  # all of it was scored before, or stands before it here
    localization_seconds: float

    @property
    def probabilities(self) -> NDArray[np.float64]:
        return probabilities(self.log_odds)

    @property
    def are_flagged(self) -> NDArray[np.bool_]:
        """Whether the verdict is "anomalous"."""
        return self.probabilities > DECISION

    @property
    def are_flagged_late(self) -> NDArray[np.bool_]:
        """Whether they are flagged, and not by their first excerpt."""
        return self.are_flagged & (probabilities(self.first_log_odds) <= DECISION)

    @property
    def margins(self) -> NDArray[np.float64]:
        """How far from the decision, in log-odds."""
        distances: NDArray[np.float64] = np.abs(self.log_odds - logit(DECISION))
        return distances


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What is remembered of an excerpt."""

    log_odds: float
    cut: tuple[int, ...]  # lines of whose message the model reads the beginning alone
    contributed: tuple[tuple[int, float], ...] | None = None  # by a message's first line

    @property
    def payload(self) -> bytes:
        return json.dumps([self.log_odds, self.cut, self.contributed]).encode()

    @classmethod
    def of(cls, payload: bytes) -> "_Answer":
        log_odds, cut, contributed = json.loads(payload)
        return cls(
            log_odds=log_odds,
            cut=tuple(cut),
            contributed=None if contributed is None else tuple(map(tuple, contributed)),
        )


Answers = dict[Ids, _Answer]  # by excerpt


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """A memory, and what an excerpt is known by in it: its messages' texts in short."""

    memory: Memory
    digest: Callable[[Ids], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """A model that is asked about windows of some messages.

    Args:
        chosen: of distinct flagged excerpts, those to localize.
        remembered: what the model was asked before, if anything is remembered.
    """

    model: LogLLM
    messages: Messages
    chosen: Callable[[Sequence[Ids]], Sequence[Ids]]
    remembered: Remembered | None = None

    def judge(self, windows: Sequence[Ids]) -> Judgements:
        """In the order given; of a long window the most suspicious excerpt decides."""
        parts = [self.messages.collator.excerpts(window) for window in windows]
        excerpts = [w[part] for w, slices in zip(windows, parts, strict=True) for part in slices]
        begins = [part.start for slices in parts for part in slices]
        firsts = np.cumsum([0, *map(len, parts)])
        distinct = list(dict.fromkeys(excerpts))
        answers = self._recalled(distinct)
        known = set(answers)
        answers |= self._scored([excerpt for excerpt in distinct if excerpt not in known])
        odds = np.array([answers[excerpt].log_odds for excerpt in excerpts])
        worst = [start + int(odds[start:end].argmax()) for start, end in pairwise(firsts.tolist())]
        scored = time.perf_counter()
        answers |= self._localized([excerpts[number] for number in worst], answers)
        localized = time.perf_counter()
        return Judgements(
            log_odds=odds[worst],
            first_log_odds=odds[firsts[:-1]],
            deciding=[excerpts[number] for number in worst],
            num_excerpts=np.diff(firsts),
            num_cut_lines=_num_cut_lines([answers[e].cut for e in excerpts], begins, firsts),
            contributions=[_from(begins[n], answers[excerpts[n]].contributed) for n in worst],
            are_reused=_are_reused(excerpts, firsts, known),
            localization_seconds=localized - scored,
        )

    def _recalled(self, excerpts: Sequence[Ids]) -> Answers:
        if self.remembered is None:
            return {}
        excerpt_of = {self.remembered.digest(excerpt): excerpt for excerpt in excerpts}
        payloads = self.remembered.memory.recall("windows", excerpt_of)
        return {excerpt_of[digest]: _Answer.of(payload) for digest, payload in payloads.items()}

    def _remember(self, answers: Answers) -> Answers:
        if self.remembered is not None:
            digests = {self.remembered.digest(e): answer.payload for e, answer in answers.items()}
            self.remembered.memory.remember("windows", digests)
        return answers

    def _scored(self, excerpts: Sequence[Ids]) -> Answers:
        if not excerpts:
            return {}
        vectors, cut = self.messages.vectors(excerpts), self.messages.cut_messages(excerpts)
        odds = score_log_odds(self.model, self.messages.collator, excerpts, vectors)
        return self._remember(
            {
                excerpt: _Answer(
                    log_odds=log_odds,
                    cut=tuple(n for n, message in enumerate(excerpt) if message in cut),
                )
                for excerpt, log_odds in zip(excerpts, odds.tolist(), strict=True)
            }
        )

    def _localized(self, deciding: Sequence[Ids], answers: Answers) -> Answers:
        """Answers about flagged excerpts, now with what their messages contributed."""
        distinct = list(dict.fromkeys(deciding))
        chances = probabilities(np.array([answers[excerpt].log_odds for excerpt in distinct]))
        flagged = [distinct[number] for number in np.flatnonzero(chances > DECISION)]
        chosen = self.chosen([e for e in flagged if answers[e].contributed is None])
        if not chosen:
            return {}
        vectors = self.messages.vectors(chosen)
        contributed = contributions(self.model, self.messages.collator, chosen, vectors)
        return self._remember(
            {
                excerpt: replace(
                    answers[excerpt],
                    contributed=tuple((excerpt.index(message), v) for message, v in each.items()),
                )
                for excerpt, each in zip(chosen, contributed, strict=True)
            }
        )


def _from(begin: int, contributed: tuple[tuple[int, float], ...] | None) -> dict[int, float] | None:
    """By lines of the window, of an excerpt that begins at one of them."""
    return None if contributed is None else {begin + line: value for line, value in contributed}


def _num_cut_lines(
    cut: Sequence[tuple[int, ...]], begins: Sequence[int], firsts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of each window; a line may be in two of its excerpts.

    Args:
        cut: such lines in each excerpt.
        begins: where each excerpt begins in its window.
        firsts: the first excerpt of each window.
    """
    counts = np.array([len(lines) for lines in cut], dtype=np.int64)
    for start, end in pairwise(firsts.tolist()):
        if end - start > 1:
            lines = {begins[n] + line for n in range(start, end) for line in cut[n]}
            counts[start:end] = 0
            counts[start] = len(lines)
    return counts[firsts[:-1]]


def _are_reused(
    excerpts: Sequence[Ids], firsts: NDArray[np.int64], known: Set[Ids]
) -> NDArray[np.bool_]:
    """Whether all excerpts of a window were scored before, or stand in a window before it."""
    met, are_reused = set(known), []
    for start, end in pairwise(firsts.tolist()):
        of_window = excerpts[start:end]
        are_reused.append(met.issuperset(of_window))
        met.update(of_window)
    return np.array(are_reused, dtype=bool)
