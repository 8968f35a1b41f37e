"""Semantic vectors of events: what an event means, as a weighted mean of its words' vectors.

X. Zhang et al., "Robust log-based anomaly detection on unstable log data" (LogRobust, ESEC/FSE
2019), section 3.2: what is no letter is dropped, joined words are split at their capitals, stop
words are left out; a word's weight is its TF-IDF over the log's events. The paper takes the word
vectors from FastText (2 million words, 4 GB); here the frozen encoder reads each word alone.

Axes: N events, W distinct words, E encoder width.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from logllm_core.paper.building_blocks.interface import Events
from logllm_core.paper.building_blocks.message_vectors import FrozenEncoder, Vectors

_LETTERS = re.compile(r"[^\W\d_]+")
# "addStoredBlock" is three words, "HTTPServer" two.
_SEAM = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# The paper names "a" and "the". Words that tell events apart, such as "not", "no", "down" or
# "off", are on many lists of stop words, but not on this one.
_STOP_WORDS = re.compile(
    "an?|the|and|or|of|to|in|on|at|by|for|from|with|as|is|are|was|were|be|been|being|am|has|have|"
    "had|do|does|did|this|that|these|those|it|its|he|she|they|them|we|you|i|my|our|your|their|s|t|"
    "so|than|then|there|here|will|would|shall|should|can|could|may|might|must"
)


def words_of(text: str) -> list[str]:
    """The words of a message or template, in lower case and in order; none of `<*>`."""
    return [
        word.lower() for letters in _LETTERS.findall(text) for word in _SEAM.split(letters) if word
    ]


def template_vectors(events: Events, encoder: FrozenEncoder) -> Vectors:
    """A vector an event, [N, E]: V = 1/n sum of TF(w) IDF(w) v(w) over its n words.

    IDF(w) is log(L / L_w), with L known events, L_w of which hold w. A word of none of them is
    weighed as though its event had been counted with the others, log((L + 1) / 1). An event
    without words has the vector 0. All vectors are brought to one size, where the components of
    the known events have a mean square of 1, as networks expect.
    """
    words_N = [
        [word for word in words_of(text) if not _STOP_WORDS.fullmatch(word)]
        for text in events.texts
    ]
    column = {word: number for number, word in enumerate(sorted({w for ws in words_N for w in ws}))}
    if not column:
        return np.zeros((len(words_N), 1), dtype=np.float32)
    num_holding = Counter(word for words in words_N[: events.num_known] for word in set(words))
    rarity_W = [
        events.num_known / num_holding[word] if word in num_holding else events.num_known + 1
        for word in column
    ]
    idf_W = np.log(rarity_W)
    weights_NW = _weights(words_N, column, idf_W)
    is_known_W = np.array([word in num_holding for word in column])
    vectors_WE = centred(encoder.mean_vectors(list(column)), is_known_W)
    vectors_NE: Vectors = (weights_NW @ vectors_WE).astype(np.float32)
    size = float(np.sqrt((vectors_NE[: events.num_known] ** 2).mean()))
    return vectors_NE / np.float32(size) if size else vectors_NE


def centred(vectors_WE: Vectors, is_known_W: NDArray[np.bool_]) -> Vectors:
    """Vectors without what those of the known words have in common.

    All vectors of such an encoder point about one way (Ethayarajh, EMNLP 2019): words hardly
    differ before what they share is taken off.
    """
    if not is_known_W.any():
        return vectors_WE
    centred_WE: Vectors = vectors_WE - vectors_WE[is_known_W].mean(axis=0)
    return centred_WE


def _weights(
    words_N: Sequence[Sequence[str]], column: dict[str, int], idf_W: NDArray[np.float64]
) -> csr_matrix:
    """[N, W]: a word that occurs c times in n is c of the n summands, and its TF is c / n."""
    rows, columns, weights = [], [], []
    for row, words in enumerate(words_N):
        for word, count in Counter(words).items():
            rows.append(row)
            columns.append(column[word])
            weights.append((count / len(words)) ** 2 * idf_W[column[word]])
    return csr_matrix((weights, (rows, columns)), shape=(len(words_N), len(column)))
