"""RAPID: how far a text is from the most similar normal one, token by token; trains nothing.

G. No, Y. Lee, H. Kang, P. Kang, "Training-free retrieval-based log anomaly detection with
pre-trained language model considering token-level information", EAAI 133, 2024 (arXiv 2311.05160).
A frozen encoder reads each distinct text once. The normal ones are the library. A text that it
lacks is compared with its *core set* alone, the normal texts with the nearest [CLS] vectors: each
of its tokens finds the most similar token of a normal text, by the cosine, as ColBERT does. Its
distance is what the similarities lack to 1, summed over its tokens, for the normal text where this
is least. A text of the library has the distance 0.

As in the public implementation, a session is one text, its distinct messages in alphabetic order;
elsewhere every message is a text, and a window is as far as the farthest of its messages. The
library holds all token vectors in memory, at BERT's width 1.5 KB a token.

Axes: N texts, L tokens of a text, D texts of the library, K of a core set, Q tokens of a text that
is compared, T tokens of a core set, E encoder width.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from logllm_core.config import Settings
from logllm_core.paper.building_blocks import thresholds
from logllm_core.paper.building_blocks.interface import Bench, Ids, Method, Scorer, Scores, Training
from logllm_core.paper.building_blocks.message_vectors import FrozenEncoder

NAME = "rapid"
NUM_CELLS = 1 << 24  # of distances in memory at once
MAX_TOKENS = 512  # of a text; the paper cuts lines at 128
Part = Ids  # event ids, whose messages are one text
Tokens = NDArray[np.float16]  # [L, E] of one text, each of length 1
Places = NDArray[np.int64]


class RapidSettings(Settings):
    """The paper's values; its limit is the one with the best F1 on the test labels."""

    core_set_fraction: float = Field(default=0.01, gt=0, le=1)  # of the library, one at least
    held_out_fraction: float = Field(default=0.1, gt=0, lt=1)  # of the windows, for the limit
    limit_quantile: float = Field(default=0.99, gt=0, le=1)  # of the held-out windows' distances


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """What the encoder says of some texts."""

    cls_NE: NDArray[np.float32]
    tokens: Sequence[Tokens]  # by text


def fit(training: Training, settings: RapidSettings, bench: Bench) -> Scorer:
    """The library of all normal texts, and the limit from windows that it was built without."""
    parts = [parts_of(ids, has_sessions=training.has_sessions) for ids in training.windows]
    row_of = {part: row for row, part in enumerate(dict.fromkeys(chain.from_iterable(parts)))}
    library = _read_all([_text_of(part, training) for part in row_of], bench.encoder)
    limit = _learn_limit(parts, row_of, library, settings, bench.seed)
    every = np.arange(len(row_of))

    def score(windows: Sequence[Ids]) -> Scores:
        parts = [parts_of(ids, has_sessions=training.has_sessions) for ids in windows]
        new = [part for part in dict.fromkeys(chain.from_iterable(parts)) if part not in row_of]
        distances = dict.fromkeys(row_of, 0.0)
        for numbers, some in _read([_text_of(part, training) for part in new], bench.encoder):
            nearest = distances_to(library, every, some, settings.core_set_fraction)
            read = [new[number] for number in numbers]
            distances.update(zip(read, nearest.tolist(), strict=True))
        return thresholds.beyond(_farthest(parts, distances), limit)

    return score


def parts_of(window: Ids, *, has_sessions: bool) -> list[Part]:
    """What of a window is compared: all its distinct messages as one, or each of them."""
    distinct = tuple(sorted(set(window)))
    return [distinct] if has_sessions else [(event,) for event in distinct]


def _text_of(part: Part, training: Training) -> str:
    return " ".join(sorted(training.events.texts[event] for event in part))


def _farthest(parts: Sequence[Sequence[Part]], distances: Mapping[Part, float]) -> Scores:
    """Of each window's parts the greatest distance."""
    return np.array([max(distances[part] for part in of_window) for of_window in parts])


def _learn_limit(
    parts: Sequence[Sequence[Part]],
    row_of: Mapping[Part, int],
    library: Texts,
    settings: RapidSettings,
    seed: int,
) -> float:
    """What the held-out windows' distances rarely pass; the others are their library."""
    kept, held = thresholds.hold_out(len(parts), settings.held_out_fraction, seed)
    kept_parts = {part for number in kept.tolist() for part in parts[number]}
    held_parts = [parts[number] for number in held.tolist()]
    lacking = [
        part for part in dict.fromkeys(chain.from_iterable(held_parts)) if part not in kept_parts
    ]
    rows = [row_of[part] for part in lacking]
    nearest = distances_to(
        library,
        np.array(sorted(row_of[part] for part in kept_parts)),
        Texts(cls_NE=library.cls_NE[rows], tokens=[library.tokens[row] for row in rows]),
        settings.core_set_fraction,
    )
    distances = dict.fromkeys(kept_parts, 0.0) | dict(zip(lacking, nearest.tolist(), strict=True))
    return thresholds.limit_of(_farthest(held_parts, distances), settings.limit_quantile)


def _read_all(texts: Sequence[str], encoder: FrozenEncoder) -> Texts:
    """The encoder's vectors of all these texts, at least one."""
    cls: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)] * len(texts)
    tokens: list[Tokens] = [np.zeros((0, 0), dtype=np.float16)] * len(texts)
    for numbers, some in _read(texts, encoder):
        for row, number in enumerate(numbers):
            cls[number] = some.cls_NE[row]
            tokens[number] = some.tokens[row]
    return Texts(cls_NE=np.stack(cls), tokens=tokens)


def _read(texts: Sequence[str], encoder: FrozenEncoder) -> Iterator[tuple[list[int], Texts]]:
    """Numbers of some texts, and what the encoder says of these."""
    for numbers, hidden_NLE, is_token_NL in encoder.token_vectors(texts, MAX_TOKENS):
        unit_NLE = torch.nn.functional.normalize(hidden_NLE, dim=-1).half().cpu().numpy()
        num_tokens_N = is_token_NL.sum(dim=1).tolist()
        yield (
            numbers.tolist(),
            Texts(
                cls_NE=hidden_NLE[:, 0].cpu().numpy(),
                tokens=[
                    own_LE[:length].copy()
                    for own_LE, length in zip(unit_NLE, num_tokens_N, strict=True)
                ],
            ),
        )


def distances_to(library: Texts, rows: Places, some: Texts, core_set_fraction: float) -> Scores:
    """The distance of each text to the nearest one in its core set, [N], from 0.

    Args:
        rows: of the library, those that may be compared with.
    """
    num_core = max(int(core_set_fraction * len(rows)), 1)
    cls_DE = library.cls_NE[rows]
    lengths_D = (cls_DE**2).sum(axis=1)
    nearest = np.zeros(len(some.tokens))
    step = max(NUM_CELLS // len(rows), 1)
    for start in range(0, len(nearest), step):
        part = slice(start, start + step)
        # The text's own square would change no order.
        squares_ND = lengths_D - 2 * some.cls_NE[part] @ cls_DE.T
        core_NK = np.argpartition(squares_ND, num_core - 1, axis=1)[:, :num_core]
        nearest[part] = [
            distance(own_QE, [library.tokens[row] for row in rows[core_K]])
            for own_QE, core_K in zip(some.tokens[part], core_NK, strict=True)
        ]
    return nearest


def distance(own_QE: Tokens, core: Sequence[Tokens]) -> float:
    """What a text's best similarities lack to 1, summed over its tokens; for the nearest text."""
    starts = np.cumsum([0, *(len(tokens) for tokens in core[:-1])])
    core_TE = np.concatenate(core).astype(np.float32)
    best_QK = np.maximum.reduceat(own_QE.astype(np.float32) @ core_TE.T, starts, axis=1)
    return max(float((1 - best_QK).sum(axis=0).min()), 0.0)  # rounding may pass 1


METHOD = Method(
    name=NAME,
    title="RAPID",
    paper=(
        "G. No, Y. Lee, H. Kang, P. Kang: Training-free retrieval-based log anomaly detection with "
        "pre-trained language model considering token-level information. EAAI 133, 2024"
    ),
    reads="messages",
    has_encoder=True,
    labels="normal windows only",
    settings=RapidSettings(),
    fit=fit,
    rule="A window is an alarm if it is farther from the most similar normal text than "
    "nearly all held-out normal training windows.",
    differs=(
        "Its paper judges lines where there are no sessions; here windows of lines are judged, by "
        "the most anomalous of their messages.",
        "Its paper takes the limit with the best F1 on the test labels; here it is a quantile of "
        "the distances of held-out normal training windows.",
        "Its public implementation also compares the padding after a text; here only tokens count.",
        f"A text is cut at {MAX_TOKENS} tokens, where the paper cuts lines at 128.",
        "Messages are masked by this project's rules, not by RAPID's own for each data set.",
    ),
)
