"""Crops: what a training step shows of its windows, where each line has a label.

Of a window of twenty lines with one alert nothing says which line it is. A run of a few of its
lines, labelled by these lines alone, says it better, is another sample each time, and is cheaper.
Sessions that are labelled whole cannot be cropped: what is missing may be the anomaly.
"""

import numpy as np

from logllm_core.logs.windows import Windows
from logllm_core.training.recipes import Recipe
from logllm_core.training.sampling import Indices, derived_seed

MIN_LINES = 2  # of a crop: one line alone says nothing of what comes before it


def shown(
    windows: Windows, places: Indices, recipe: Recipe, stage_name: str, step: str
) -> list[tuple[int, ...]]:
    """The message ids of a step's samples: whole windows, and crops of as many as the recipe says.

    A crop has its window's label: of an anomalous window it holds an alert.

    Args:
        windows: with alerts; without them nothing is cropped.
        places: of the step's windows.
        stage_name, step: each step crops in a way of its own, the same after a resume.
    """
    whole = [windows.message_ids[place] for place in places]
    if windows.alerts is None or not recipe.crop_fraction:
        return whole
    generator = np.random.default_rng(derived_seed(recipe.seed, "crops", stage_name, step))
    return [
        _crop(ids, windows.alerts[place], generator)
        if generator.random() < recipe.crop_fraction
        else ids
        for ids, place in zip(whole, places.tolist(), strict=True)
    ]


def _crop(
    ids: tuple[int, ...], alerts: tuple[bool, ...], generator: np.random.Generator
) -> tuple[int, ...]:
    """Some consecutive messages, any number as likely as another."""
    if len(ids) <= MIN_LINES:
        return ids
    length = int(generator.integers(MIN_LINES, len(ids)))
    # Of each start, how many alerts its crop holds.
    num_alerts = np.convolve(alerts, np.ones(length, dtype=np.int64), mode="valid")
    starts = np.flatnonzero(num_alerts > 0) if any(alerts) else np.arange(len(num_alerts))
    start = int(generator.choice(starts))
    return ids[start : start + length]
