"""The probability of "anomalous" for windows: nothing that repeats is computed twice.

Each distinct message is encoded once, each distinct window is scored once, and windows that begin
alike share the decoder's positions up to where they part. No answer is generated: one forward pass
compares the two.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from logllm_core.model.batches import Collator
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.logllm import LogLLM, encode_messages
from logllm_core.model.message_tokens import TextVocabulary
from logllm_core.model.weights import set_trainable
from logllm_core.progress import Advance, track


def score_windows(
    model: LogLLM,
    collator: Collator,
    windows: Sequence[tuple[int, ...]],
    vectors: EncoderVectors | None = None,
) -> NDArray[np.float64]:
    """Probability of "anomalous" against "normal" for each window, in the order given.

    See `score_log_odds`.
    """
    return probabilities(score_log_odds(model, collator, windows, vectors))


def probabilities(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of log-odds (nats)."""
    chances: NDArray[np.float64] = torch.from_numpy(log_odds).sigmoid().numpy()
    return chances


def score_log_odds(
    model: LogLLM,
    collator: Collator,
    windows: Sequence[tuple[int, ...]],
    vectors: EncoderVectors | None = None,
) -> NDArray[np.float64]:
    """Log-odds of "anomalous" against "normal" for each window, in the order given.

    Leaves the model ready to score, with nothing to train.

    Args:
        windows: message ids in log order, each window at least one.
        vectors: encoder vectors of these messages at least, where they are known already.
    """
    set_trainable(model, ())
    cut = [window[: collator.max_window_messages] for window in windows]
    row_of = {window: row for row, window in enumerate(dict.fromkeys(cut))}
    distinct = list(row_of)
    log_odds = np.empty(len(distinct))
    if distinct:
        if vectors is None:
            vectors = encode_windows(model, collator, distinct)
        with track("Scoring", total=len(distinct), unit="windows") as advance:
            log_odds = window_log_odds(model, collator, distinct, vectors, advance)
    return log_odds[[row_of[window] for window in cut]]


@torch.no_grad()
def window_log_odds(
    model: LogLLM,
    collator: Collator,
    windows: Sequence[tuple[int, ...]],
    vectors: EncoderVectors | None,
    advance: Advance,
) -> NDArray[np.float64]:
    """Log-odds of "anomalous" against "normal" for each window; each is computed.

    Args:
        model: ready to score.
        windows: best distinct; one may be empty.
        vectors: from `encode_windows`.
        advance: told how many windows a batch held.
    """
    log_odds = np.empty(len(windows))
    for indices, batch in collator.scoring_batches(windows, vectors):
        log_probabilities = model.answer_log_probabilities(batch.to(model.device))
        normal, anomalous = log_probabilities.double().unbind(-1)
        log_odds[indices] = (anomalous - normal).cpu().numpy()
        advance(len(indices))
    return log_odds


def encode_windows(
    model: LogLLM, collator: Collator, windows: Sequence[tuple[int, ...]]
) -> EncoderVectors | None:
    """Encoder vectors of every message of these windows.

    None for a model without encoder, or where there is no message.
    """
    known = sorted({message for window in windows for message in window})
    if isinstance(collator.vocabulary, TextVocabulary) or not known:
        return None
    return encode_messages(model, collator.vocabulary, np.array(known, dtype=np.int64))
