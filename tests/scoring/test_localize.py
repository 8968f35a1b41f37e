import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from logllm_core.model import PARTS, Embedder
from logllm_core.model.batches import Collator
from logllm_core.model.logllm import LogLLM
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import encode_windows, score_windows, window_log_odds
from logllm_core.scoring import localize
from logllm_core.scoring.localize import contributions
from tests import tiny
from tests.model.plain import plain_probabilities

TEXTS = ["alpha read ok", "beta", "gamma disk failed", "delta write"]
EMBEDDERS: tuple[Embedder, ...] = ("encoder", "message-id", "none")
Window = tuple[int, ...]


def log_odds_alone(model: LogLLM, collator: Collator, window: Window) -> float:
    """Of one window that shares its forward pass with no other."""
    vectors = encode_windows(model, collator, [window])
    (found,) = window_log_odds(model, collator, [window], vectors, lambda _: None)
    return float(found)


def expected(
    model: LogLLM, collator: Collator, variants: Sequence[tuple[Window, Window, Window]]
) -> list[float]:
    """The contribution that follows from a window, itself without a message, the message alone."""
    return [
        (
            log_odds_alone(model, collator, window)
            - log_odds_alone(model, collator, without)
            + log_odds_alone(model, collator, alone)
            - log_odds_alone(model, collator, ())
        )
        / 2
        for window, without, alone in variants
    ]


# Models that call none of the messages alone anomalous, and models that call all so.
CALM = {"encoder": 3, "message-id": 3, "none": 4}
ALARMED = {"encoder": 0, "message-id": 2, "none": 1}


@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_where_a_message_explains_the_alarm_contributions_are_what_each_gives_alone(
    embedder: Embedder,
) -> None:
    model = tiny.model(ALARMED[embedder], embedder=embedder, num_known=3)
    collator = tiny.collator(TEXTS, model, embedder=embedder)
    (found,) = contributions(model, collator, [(2, 0, 2, 3)])
    empty, *alone = (log_odds_alone(model, collator, window) for window in [(), (2, 2), (0,), (3,)])
    assert max(alone) > 0
    assert list(found) == [2, 0, 3]  # as they first occur
    np.testing.assert_allclose(list(found.values()), np.subtract(alone, empty), atol=1e-4)


def test_messages_alone_are_asked_about_once_for_all_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Window] = []

    def spied(model: LogLLM, collator: Collator, windows: Sequence[Window], *more: Any) -> Any:
        asked.extend(windows)
        return window_log_odds(model, collator, windows, *more)

    monkeypatch.setattr(localize, "window_log_odds", spied)
    model = tiny.model(ALARMED["encoder"])
    windows = [*itertools.permutations((0, 1, 3))]
    monkeypatch.setattr(localize, "CHUNK_VARIANTS", 8)  # one window at a time
    contributions(model, tiny.collator(TEXTS, model), windows)
    # Each explains it, so nothing is left out.
    assert sorted(asked) == sorted([(), (0,), (1,), (3,), *windows])


@pytest.mark.parametrize(
    ("alone", "own", "explains"),
    [
        ({0: -3.0, 1: 2.6}, 5.0, True),
        ({0: -3.0, 1: 2.4}, 5.0, False),  # less than half of what the window has
        ({0: -3.0, 1: -0.1}, -1.0, False),  # no message alone is called anomalous
        ({0: 0.2}, -1.0, True),
    ],
)
def test_a_message_explains_an_alarm_with_half_of_the_window_s_log_odds(
    alone: dict[int, float], own: float, explains: bool
) -> None:
    assert localize._explains(alone, own) == explains


@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_else_a_contribution_is_the_mean_of_what_the_message_takes_away_and_what_it_gives_alone(
    embedder: Embedder,
) -> None:
    # Message 3 is not known by its id.
    model = tiny.model(CALM[embedder], embedder=embedder, num_known=3)
    collator = tiny.collator(TEXTS, model, embedder=embedder)
    first, second = contributions(model, collator, [(2, 0, 2, 3), (1, 1, 0)])
    assert list(first) == [2, 0, 3]  # as they first occur
    assert list(second) == [1, 0]
    found = [*first.values(), *second.values()]
    worked_out: list[tuple[Window, Window, Window]] = [
        ((2, 0, 2, 3), (0, 3), (2, 2)),
        ((2, 0, 2, 3), (2, 2, 3), (0,)),
        ((2, 0, 2, 3), (2, 0, 2), (3,)),
        ((1, 1, 0), (0,), (1, 1)),
        ((1, 1, 0), (1, 1), (0,)),
    ]
    np.testing.assert_allclose(found, expected(model, collator, worked_out), rtol=0, atol=1e-4)
    assert np.ptp(found) > 0.01


def test_contributions_are_those_of_the_plain_path() -> None:
    model = tiny.model(3)
    windows: list[Window] = [(2, 0, 2, 3), (0, 3), (2, 2), (2, 2, 3), (0,), (2, 0, 2), (3,), ()]
    chances = plain_probabilities(model, tiny.vocabulary(TEXTS), windows)
    whole, no_2, only_2, no_0, only_0, no_3, only_3, empty = chances.logit().tolist()
    (found,) = contributions(model, tiny.collator(TEXTS, model), windows[:1])
    assert found == pytest.approx(
        {
            2: (whole - no_2 + only_2 - empty) / 2,
            0: (whole - no_0 + only_0 - empty) / 2,
            3: (whole - no_3 + only_3 - empty) / 2,
        },
        abs=1e-4,
    )


@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_a_window_of_one_message_is_held_against_the_empty_one(embedder: Embedder) -> None:
    model = tiny.model(embedder=embedder)
    collator = tiny.collator(TEXTS, model, embedder=embedder)
    found = contributions(model, collator, [(1, 1, 1), (2,)])
    empty = log_odds_alone(model, collator, ())
    thrice, once = (log_odds_alone(model, collator, window) for window in [(1, 1, 1), (2,)])
    assert [list(own) for own in found] == [[1], [2]]
    assert found[0][1] == pytest.approx(thrice - empty, abs=1e-4)
    assert found[1][2] == pytest.approx(once - empty, abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([1, 3]), min_size=2, max_size=6), st.integers(0, 7))
def test_two_messages_share_all_that_sets_a_window_apart_from_the_empty_one(
    window: list[int], seed: int
) -> None:
    """Where neither explains it alone."""
    model = tiny.model(seed)
    collator = tiny.collator(TEXTS, model)
    alone = [(message,) * window.count(message) for message in set(window)]
    assume(all(log_odds_alone(model, collator, own) <= 0 for own in alone))
    (found,) = contributions(model, collator, [tuple(window)])
    whole, empty = (log_odds_alone(model, collator, own) for own in (tuple(window), ()))
    assert sum(found.values()) == pytest.approx(whole - empty, abs=1e-4)


@pytest.mark.parametrize("chunk_variants", [1, 20, 8_192])
@pytest.mark.parametrize("seed", [CALM["encoder"], ALARMED["encoder"], 1])
def test_many_windows_have_what_each_has_on_its_own(
    monkeypatch: pytest.MonkeyPatch, chunk_variants: int, seed: int
) -> None:
    monkeypatch.setattr(localize, "CHUNK_VARIANTS", chunk_variants)
    dice = random.Random(1)
    windows = [tuple(dice.choices(range(4), k=dice.randint(1, 6))) for _ in range(15)]
    windows += windows[:5]
    model = tiny.model(seed)
    collator = tiny.collator(TEXTS, model)
    together = contributions(model, collator, windows)
    for window, found in zip(windows, together, strict=True):
        (own,) = contributions(model, collator, [window])
        assert found == pytest.approx(own, abs=1e-4)


def test_no_windows_have_no_contributions() -> None:
    model = tiny.model()
    assert contributions(model, tiny.collator(TEXTS, model), []) == []


def test_a_distinct_window_is_scored_once_and_vectors_are_not_computed_again() -> None:
    model = tiny.model()
    collator = tiny.collator(TEXTS, model)
    vectors = encode_windows(model, collator, [(0, 1, 2, 3)])
    num_positions: list[int] = []
    model.decoder.model.register_forward_pre_hook(
        lambda _module, _arguments, named: num_positions.append(named["inputs_embeds"].shape[1]),
        with_kwargs=True,
    )
    encoder_calls: list[None] = []
    model.encoder.register_forward_hook(lambda *_: encoder_calls.append(None))
    once = contributions(model, collator, [(0, 1)], vectors)
    taken = sum(num_positions)
    num_positions.clear()
    assert contributions(model, collator, [(0, 1)] * 30, vectors) == once * 30
    assert sum(num_positions) == taken
    assert not encoder_calls


def test_a_message_that_is_cut_has_no_contribution() -> None:
    model = tiny.model()
    collator = Collator(
        prompt=model.prompt, vocabulary=tiny.vocabulary(TEXTS), max_window_messages=2
    )
    whole, cut = contributions(model, collator, [(0, 1, 2, 0), (0, 1)])
    assert list(whole) == [0, 1]
    assert whole == cut


def test_a_message_beyond_the_tokens_that_are_read_has_no_contribution() -> None:
    model = tiny.model(embedder="none")
    vocabulary = tiny.collator(TEXTS, model, embedder="none").vocabulary
    # alpha read ok ; beta ; delta write: 3 + 1 + 1 + 1 + 2 tokens
    for limit, read in {8: [0, 1, 3], 7: [0, 1, 3], 5: [0, 1], 3: [0], 1: [0]}.items():
        collator = Collator(prompt=model.prompt, vocabulary=vocabulary, max_window_tokens=limit)
        assert collator.cut((0, 1, 3)) == tuple(read)
        (found,) = contributions(model, collator, [(0, 1, 3)])
        assert list(found) == read


def flagged_by_a_model_of(bad: set[int]) -> tuple[LogLLM, Collator, list[Window]]:
    """A model that learned that these messages make a window anomalous; what it calls so."""
    model = tiny.model(embedder="message-id")
    collator = tiny.collator(TEXTS, model, embedder="message-id")
    dice = random.Random(2)
    windows = [tuple(dice.choices(range(4), k=dice.randint(2, 5))) for _ in range(60)]
    windows = [window for window in dict.fromkeys(windows) if len(set(window)) > 1]
    parameters = set_trainable(model, PARTS, has_lora_dropout=False)
    optimizer = torch.optim.AdamW(parameters.values(), lr=2e-2)
    batch = collator.training_batch(windows, [bool(bad & {*window}) for window in windows])
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(model(batch))
        optimizer.step()
    chances = score_windows(model, collator, windows)
    flagged = [window for window, chance in zip(windows, chances, strict=True) if chance > 0.5]
    assert 10 < len(flagged) < len(windows)
    assert all(bad & {*window} for window in flagged)
    return model, collator, flagged


def test_the_message_that_makes_windows_anomalous_contributes_most() -> None:
    model, collator, flagged = flagged_by_a_model_of({3})
    for found in contributions(model, collator, flagged):
        assert max(found, key=lambda message: found[message]) == 3
        assert found[3] > 1


def test_of_two_messages_that_say_the_same_both_contribute() -> None:
    model, collator, flagged = flagged_by_a_model_of({2, 3})
    windows = [window for window in flagged if {2, 3, 0} <= {*window}]
    assert len(windows) > 5
    for found in contributions(model, collator, windows):
        assert min(found[2], found[3]) > max(0.5, found[0])


def test_localizing_leaves_nothing_to_train() -> None:
    model = tiny.model()
    set_trainable(model, PARTS)
    contributions(model, tiny.collator(TEXTS, model), [(0, 1)])
    assert not any(parameter.requires_grad for parameter in model.parameters())
