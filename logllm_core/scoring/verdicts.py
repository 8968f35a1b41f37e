"""What is written of a judgement, of old windows and of new ones: the verdict and its carriers."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

VERDICTS = np.array(["normal", "anomalous"])
LEAST_SHARE = 0.1  # of what the strongest contributed: who contributed less did not carry it

Carrier = TypeVar("Carrier")


def verdict_columns(
    probabilities: NDArray[np.float64], are_flagged: NDArray[np.bool_]
) -> dict[str, NDArray[np.generic]]:
    """The columns `probability` and `verdict`, a row a window."""
    return {"probability": probabilities, "verdict": VERDICTS[are_flagged.astype(int)]}


def carriers_of(contributions: Mapping[Carrier, float], at_most: int) -> list[Carrier]:
    """What carried an alarm, strongest first; none where none speaks for it.

    Args:
        contributions: in log-odds, of messages or of the lines that stand for them.
    """
    strongest = sorted(contributions, key=lambda each: -contributions[each])[:at_most]
    least = LEAST_SHARE * max(contributions.values(), default=0.0)
    return [each for each in strongest if contributions[each] > max(least, 0.0)]
