"""Which messages made a window look anomalous.

The contribution of a message is the mean of two differences of the log-odds of "anomalous" against
"normal": how much lower they would be without the message (leave one out), and how much higher they
are for a window of the message alone than for an empty one. The first misses what another message
says as well: with either of the two gone the window looks as anomalous as before. The second misses
what a message means beside others. They are the last and the first term of a Shapley value, and for
a window of two distinct messages they are all of it. Measured beside other ways:
`tests/benchmarks/localization.py`.

Windows are scored again for this, without or with but some of their messages. What these variants
have in common is computed once, as for all windows.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from logllm_core.model import backbones
from logllm_core.model.batches import Collator, EncoderVectors
from logllm_core.model.logllm import LogLLM
from logllm_core.model.scoring import encode_windows, window_log_odds
from logllm_core.progress import track

CHUNK_VARIANTS = 8_192  # asked for at once, which bounds the memory
Window = tuple[int, ...]
EMPTY: Window = ()  # the question about no message at all


def contributions(
    model: LogLLM,
    collator: Collator,
    windows: Sequence[Window],
    vectors: EncoderVectors | None = None,
) -> list[dict[int, float]]:
    """Of each window, its distinct messages and their contributions, in the order given.

    A contribution is in log-odds (nats) and is of all occurrences of the message; it is positive
    where the message speaks for "anomalous". A message that the window's cut leaves out has none.
    Leaves the model ready to score.

    Args:
        windows: message ids in log order, each window at least one.
        vectors: encoder vectors of these messages at least, where they are known already.
    """
    backbones.set_trainable(model, ())
    cut = [collator.cut(window) for window in windows]
    distinct = sorted(set(cut))
    if not distinct:
        return []
    if vectors is None:
        vectors = encode_windows(model, collator, distinct)
    found: dict[Window, dict[int, float]] = {}
    num_variants = sum(map(_num_variants, distinct))
    with track("Localizing", total=num_variants, unit="variants") as advance:
        for chunk in _chunks(distinct):
            variants = {
                (window, message): (_without(window, message), _alone(window, message))
                for window in chunk
                for message in dict.fromkeys(window)
            }
            asked = sorted({EMPTY, *chunk, *(one for pair in variants.values() for one in pair)})
            log_odds = window_log_odds(model, collator, asked, vectors, advance)
            odds = dict(zip(asked, log_odds.tolist(), strict=True))
            for (window, message), (without, alone) in variants.items():
                value = (odds[window] - odds[without] + odds[alone] - odds[EMPTY]) / 2
                found.setdefault(window, {})[message] = value
            # What windows have in common is asked once.
            advance(sum(map(_num_variants, chunk)) - len(asked))
    return [found[window] for window in cut]


def _without(window: Window, message: int) -> Window:
    return tuple(other for other in window if other != message)


def _alone(window: Window, message: int) -> Window:
    """The message as often as it occurs."""
    return (message,) * window.count(message)


def _num_variants(window: Window) -> int:
    """At most: the window, the empty one, and two for each message."""
    return 2 + 2 * len(set(window))


def _chunks(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Consecutive windows with about so many variants."""
    numbers = np.cumsum([_num_variants(window) for window in windows]) // CHUNK_VARIANTS
    for number in dict.fromkeys(numbers.tolist()):
        yield [windows[int(place)] for place in np.flatnonzero(numbers == number)]
