"""The probability of "anomalous" for windows: nothing that repeats is computed twice.

Each distinct message is encoded once, each distinct window is scored once, and windows that begin
alike share the decoder's positions up to where they part. No answer is generated: one forward pass
compares the two.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from logllm_core.model import backbones
from logllm_core.model.batches import Collator, EncoderVectors
from logllm_core.model.logllm import LogLLM, encode_messages
from logllm_core.model.vocabulary import TextVocabulary
from logllm_core.progress import track


def score_windows(
    model: LogLLM,
    collator: Collator,
    windows: Sequence[tuple[int, ...]],
    vectors: EncoderVectors | None = None,
) -> NDArray[np.float64]:
    """Probability of "anomalous" against "normal" for each window, in the order given.

    Leaves the model ready to score, with nothing to train.

    Args:
        windows: message ids in log order, each window at least one.
        vectors: encoder vectors of these messages at least, where they are known already.
    """
    backbones.set_trainable(model, ())
    cut = [window[: collator.max_window_messages] for window in windows]
    place_of = {window: place for place, window in enumerate(dict.fromkeys(cut))}
    distinct = list(place_of)
    chances = np.empty(len(distinct))
    if distinct:
        if vectors is None:
            vectors = encode_windows(model, collator, distinct)
        with track("Scoring", total=len(distinct), unit="windows") as advance:
            for places, batch in collator.scoring_batches(distinct, vectors):
                log_probabilities = model.answer_log_probabilities(batch.to(model.device))
                normal, anomalous = log_probabilities.double().unbind(-1)
                chances[places] = torch.sigmoid(anomalous - normal).cpu().numpy()
                advance(len(places))
    return chances[[place_of[window] for window in cut]]


def encode_windows(
    model: LogLLM, collator: Collator, windows: Sequence[tuple[int, ...]]
) -> EncoderVectors | None:
    """Encoder vectors of every message of these windows; None for a model without encoder."""
    if isinstance(collator.vocabulary, TextVocabulary):
        return None
    known = sorted({message for window in windows for message in window})
    return encode_messages(model, collator.vocabulary, np.array(known, dtype=np.int64))
