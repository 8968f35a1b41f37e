"""Which messages made a window look anomalous.

A message is first asked about alone: how much higher the log-odds of "anomalous" against "normal"
are for a window of the message alone than for an empty one. Where one of a window's messages alone
has at least half of the window's own log-odds, that explains the alarm, and these are the
contributions. Messages are alone in many windows alike, so this costs next to nothing.

Where none has, the alarm came from their company, such as the order of two, and each message is
left out, too. Its contribution is then the mean of the two differences: what the window loses
without it, and what it gives alone. They are the last and the first term of a Shapley value, and
for a window of two distinct messages they are all of it. Leaving out costs a variant a message, and
is blind to what another message says as well: with either of the two gone the window looks as
anomalous as before. Measured beside other ways: `tests/benchmarks/localization.py`.

What variants have in common is computed once, as for all windows.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from logllm_core.model.batches import Collator
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.logllm import LogLLM
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import encode_windows, window_log_odds
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
    set_trainable(model, ())
    cut = [collator.cut(window) for window in windows]
    distinct = sorted(set(cut))
    if not distinct:
        return []
    if vectors is None:
        vectors = encode_windows(model, collator, distinct)
    odds = _Odds(model, collator, vectors)
    with track("Localizing", total=len(distinct), unit="windows") as advance:
        by_window: dict[Window, dict[int, float]] = {}
        for chunk in _chunks(distinct):
            by_window |= _contributions(chunk, odds)
            advance(len(chunk))
    return [by_window[window] for window in cut]


class _Odds:
    """Log-odds of variants; those of messages alone are remembered, as many windows share them."""

    def __init__(self, model: LogLLM, collator: Collator, vectors: EncoderVectors | None) -> None:
        self._model, self._collator, self._vectors = model, collator, vectors
        self._alone: dict[Window, float] = {}

    def alone(self, asked: set[Window]) -> Mapping[Window, float]:
        self._alone |= self.of(asked - self._alone.keys())
        return self._alone

    def of(self, asked: set[Window]) -> dict[Window, float]:
        variants = sorted(asked)
        if not variants:
            return {}
        odds = window_log_odds(self._model, self._collator, variants, self._vectors, lambda _: None)
        return dict(zip(variants, odds.tolist(), strict=True))


def _contributions(windows: Sequence[Window], odds: _Odds) -> dict[Window, dict[int, float]]:
    alone = odds.alone({EMPTY, *(_alone(w, message) for w in windows for message in w)})
    gained = {
        window: {message: alone[_alone(window, message)] for message in dict.fromkeys(window)}
        for window in windows
    }
    of_windows = odds.of(set(windows))
    company = {window for window in windows if not _explains(gained[window], of_windows[window])}
    variants = {_without(window, message) for window in company for message in window}
    without = odds.of(variants)
    contributed = {}
    for window in windows:
        given = {message: value - alone[EMPTY] for message, value in gained[window].items()}
        if window in company:
            given = {
                message: (value + of_windows[window] - without[_without(window, message)]) / 2
                for message, value in given.items()
            }
        contributed[window] = given
    return contributed


def _explains(alone: Mapping[int, float], of_window: float) -> bool:
    """Whether a message alone is called anomalous, and not much less surely than the window."""
    return max(alone.values()) > max(0.0, of_window / 2)


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
        yield [windows[int(row)] for row in np.flatnonzero(numbers == number)]
