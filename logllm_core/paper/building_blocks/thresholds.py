"""Where a method's alarms begin, without a label of the test split.

A method that has a limit of its own (so many candidates, a share of misses) says so by scores above
.5. One that has none learns it on normal training windows that it was not fitted on.
"""

import numpy as np
from numpy.typing import NDArray

from logllm_core.training.sampling import derived_seed

LEAST = 1e-6  # of a limit
Values = NDArray[np.float64]
Places = NDArray[np.int64]


def beyond(values: Values, limit: float | Values) -> Values:
    """Values from 0 upwards as scores in [0, 1], above .5 where a value is above its limit.

    v / (v + limit). Where both are 0 the score is .5; with a limit of 0, any other value is 1.
    """
    assert (values >= 0).all()
    total = values + limit
    scores: Values = np.divide(values, total, out=np.full(np.shape(total), 0.5), where=total > 0)
    return scores


def hold_out(num_windows: int, fraction: float, seed: int) -> tuple[Places, Places]:
    """Places to fit on, and others to learn a limit on; at least one of each, if there are two.

    A single window is both.
    """
    order = np.random.default_rng(derived_seed(seed, "held out")).permutation(num_windows)
    num_held = min(max(round(fraction * num_windows), 1), num_windows - 1)
    if num_held < 1:
        return order, order
    return np.sort(order[num_held:]), np.sort(order[:num_held])


def limit_of(values: Values, quantile: float) -> float:
    """The value that this share of the held-out values does not pass.

    It is never quite 0, or all values beyond it would have one score and no order.
    """
    return max(float(np.quantile(values, quantile, method="inverted_cdf")), LEAST)
