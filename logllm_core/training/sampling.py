"""Which windows a stage sees, in which order (paper, section IV-C1)."""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.training.recipes import Recipe, Stage

Indices = NDArray[np.int64]


def derived_seed(seed: int, *words: str) -> int:
    """An independent seed for each purpose, the same on every machine."""
    digest = hashlib.sha256(":".join([str(seed), *words]).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def oversampled(
    is_anomalous: NDArray[np.bool_], beta: float, generator: np.random.Generator
) -> Indices:
    """Indices of all windows, the minority class repeated by equation (1).

    With N windows and a minority share alpha < beta, the minority is repeated up to
    `beta (1 - alpha) / (1 - beta) * N` windows, which makes its share beta. Every window of it
    occurs equally often, give or take one.
    """
    indices = np.arange(len(is_anomalous), dtype=np.int64)
    is_minority = is_anomalous if is_anomalous.mean() <= 0.5 else ~is_anomalous
    minority, majority = indices[is_minority], indices[~is_minority]
    wanted = max(round(beta * len(majority) / (1 - beta)), len(minority))
    whole, rest = divmod(wanted, len(minority))
    chosen = generator.permutation(minority)[:rest]
    return np.concatenate([majority, np.tile(minority, whole), chosen])


def evened(
    pool: Indices, windows: Windows, max_window_messages: int, generator: np.random.Generator
) -> Indices:
    """A pool of the same size and balance in which each distinct window occurs equally often.

    Without this, a log that repeats itself teaches its commonest windows again and again, and the
    rare ones hardly ever (give or take one occurrence).
    """
    assert windows.is_anomalous is not None
    distinct = distinct_windows(windows, max_window_messages)
    parts = [
        np.resize(
            generator.permutation(distinct[windows.is_anomalous[distinct] == label]),
            int((windows.is_anomalous[pool] == label).sum()),
        )
        for label in (False, True)
    ]
    return np.concatenate(parts)


def interleaved(
    pool: Indices, is_anomalous: NDArray[np.bool_], generator: np.random.Generator
) -> Indices:
    """A shuffled pool in an order in which every stretch holds both classes in the pool's shares.

    By chance a batch of eight holds one anomalous window or five. What the answer owes to that is
    noise, and it hides what the messages say. Here it is one window more or less, rarely two.
    """
    moment = np.empty(len(pool))
    for label in (False, True):
        count = int((is_anomalous == label).sum())
        moment[is_anomalous == label] = (np.arange(count) + generator.random(count)) / max(count, 1)
    return pool[np.argsort(moment, kind="stable")]


def distinct_windows(windows: Windows, max_window_messages: int) -> Indices:
    """Indices where a window, as the model reads it, first occurs with its label."""
    assert windows.is_anomalous is not None
    firsts: dict[tuple[tuple[int, ...], bool], int] = {}
    for index, ids in enumerate(windows.message_ids):
        label = bool(windows.is_anomalous[index])
        firsts.setdefault((ids[:max_window_messages], label), index)
    return np.fromiter(firsts.values(), dtype=np.int64)


def check_labelled(dataset: str, *, is_labelled: bool) -> None:
    """Windows without labels can be scored; training and measuring need labels.

    Raises:
        LogLLMError: there are none.
    """
    if not is_labelled:
        raise LogLLMError(
            f"{dataset} is not labelled: its windows can be scored by a model, not trained on or "
            "measured against. Give [labels] in the data set's file, or train on another data set."
        )


def check_both_classes(dataset: str, windows: Windows) -> None:
    """Training needs labels, and both of them.

    Raises:
        LogLLMError: which one is missing.
    """
    check_labelled(dataset, is_labelled=windows.is_anomalous is not None)
    assert windows.is_anomalous is not None
    num_anomalous = int(windows.is_anomalous.sum())
    if num_anomalous in (0, len(windows)):
        share = "no" if num_anomalous == 0 else "only"
        raise LogLLMError(
            f"{dataset}: the training split of {len(windows):,} windows holds {share} anomalous "
            "ones; training needs both kinds. Use a longer log, another train_fraction, or another "
            "split seed."
        )


def epochs(stage: Stage, recipe: Recipe, windows: Windows) -> Iterator[Indices]:
    """The indices of each epoch's windows, in the order of training."""
    assert windows.is_anomalous is not None
    generator = np.random.default_rng(derived_seed(recipe.seed, "sampling", stage.name))
    for _ in range(stage.num_epochs):
        pool = oversampled(windows.is_anomalous, recipe.beta, generator)
        if recipe.is_even:
            pool = evened(pool, windows, recipe.max_window_messages, generator)
        pool = generator.permutation(pool)
        if recipe.is_even:
            pool = interleaved(pool, windows.is_anomalous[pool], generator)
        if len(pool) < stage.min_samples:
            pool = np.resize(pool, stage.min_samples)  # repeats it, shuffled, so in balance
        yield pool[: stage.num_samples]


def batches(stage: Stage, recipe: Recipe, windows: Windows) -> list[Indices]:
    """The indices of each optimiser step's windows; an epoch's last batch may be a smaller one."""
    return [
        indices[start : start + recipe.batch_size]
        for indices in epochs(stage, recipe, windows)
        for start in range(0, len(indices), recipe.batch_size)
    ]


def digest(batches: list[Indices]) -> str:
    """Tells one order of training from another."""
    total = hashlib.sha256()
    for indices in batches:
        total.update(indices.tobytes())
    return total.hexdigest()[:16]
