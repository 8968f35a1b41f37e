"""RAPID: texts are compared token by token with the nearest normal ones, each read once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from logllm_core.paper.building_blocks.interface import Bench, Events, Training
from logllm_core.paper.building_blocks.message_vectors import FrozenEncoder
from logllm_core.paper.detectors.rapid import (
    METHOD,
    RapidSettings,
    Texts,
    distance,
    distances_to,
    fit,
    parts_of,
)
from tests.paper.planted import plant

EVENTS = Events(
    texts=["read alpha", "write beta", "gamma read ok", "failed disk", "delta failed delta"],
    num_known=3,
)
SETTINGS = RapidSettings()
UP, RIGHT = [0.0, 1.0], [1.0, 0.0]


def tokens(*vectors: list[float]) -> Any:
    return np.array(vectors, dtype=np.float16)


def training(windows: Sequence[tuple[int, ...]], *, has_sessions: bool = False) -> Training:
    return Training(
        windows=windows,
        is_anomalous=np.zeros(len(windows), dtype=bool),
        events=EVENTS,
        has_sessions=has_sessions,
    )


def test_a_session_is_one_text_of_its_distinct_messages_and_other_windows_are_many() -> None:
    assert parts_of((4, 1, 4, 0), has_sessions=True) == [(0, 1, 4)]
    assert parts_of((4, 1, 4, 0), has_sessions=False) == [(0,), (1,), (4,)]


def test_a_distance_sums_over_tokens_and_is_that_of_the_nearest_text() -> None:
    own = tokens(UP, RIGHT)
    # The first text lacks RIGHT: 0 + 1. The second has the cosines 1 and .6: 0 + .4.
    assert distance(own, [tokens(UP), tokens([0.6, 0.8], UP)]) == pytest.approx(0.4, abs=1e-3)
    assert distance(own, [tokens(RIGHT, RIGHT, UP)]) == 0


def test_only_the_texts_with_the_nearest_first_vectors_are_compared() -> None:
    library = Texts(
        cls_NE=np.array([[9, 0], [1, 0], [5, 0]], dtype=np.float32),
        tokens=[tokens(UP), tokens(RIGHT), tokens([0.6, 0.8])],
    )
    some = Texts(cls_NE=np.array([[2, 0]], dtype=np.float32), tokens=[tokens(UP)])
    every = np.arange(3)
    assert distances_to(library, every, some, 0.01).tolist() == [1]  # one at least: the second
    assert distances_to(library, every, some, 0.67) == pytest.approx([0.2], abs=1e-3)
    assert distances_to(library, every, some, 1.0).tolist() == [0]
    assert distances_to(library, np.array([0, 2]), some, 0.01) == pytest.approx([0.2], abs=1e-3)


def test_each_distinct_text_is_read_once(bench: Bench) -> None:
    read: list[str] = []

    class Reading(FrozenEncoder):
        def __init__(self) -> None:
            """Reads through another one."""

        def token_vectors(self, texts: Sequence[str], max_tokens: int = 0) -> Iterator[Any]:
            read.extend(texts)
            return bench.encoder.token_vectors(texts, max_tokens)

    scorer = fit(training([(0, 1, 0), (1, 2)] * 10), SETTINGS, replace(bench, encoder=Reading()))
    scorer([(0, 3), (3, 1, 4), (4, 4)])
    assert sorted(read) == sorted(EVENTS.texts)


def test_what_training_holds_is_no_alarm_and_a_new_message_is_one(bench: Bench) -> None:
    scorer = fit(training([(0, 1), (1, 2)] * 10), SETTINGS, bench)
    old, both, new, other = scorer([(2, 1, 0), (0, 3), (3,), (4,)])
    assert old == 0
    assert new > 0.5
    assert both == new  # the most anomalous message counts
    assert other not in (new, 1)  # beyond the limit there is an order still


def test_a_new_mixture_of_old_messages_is_an_alarm_in_sessions_only(bench: Bench) -> None:
    windows = [(0, 1), (1, 0, 1), (1, 2)] * 10
    in_sessions = fit(training(windows, has_sessions=True), SETTINGS, bench)
    old, new = in_sessions([(0, 0, 1), (0, 2)])
    assert old < 0.5 < new
    assert fit(training(windows), SETTINGS, bench)([(0, 2)])[0] < 0.5


def test_a_limit_is_learnt_on_windows_that_the_library_lacks(bench: Bench) -> None:
    # Each message stands in one window alone, so that each held-out window is new.
    events = Events(
        texts=[f"{a} {b}" for a in ["read", "write"] for b in EVENTS.texts], num_known=9
    )
    alone = replace(training([(event,) for event in range(9)]), events=events)
    (score,) = fit(alone, SETTINGS, bench)([(9,)])
    assert 0 < score < 0.9  # as far as others were, not ten times


def test_it_learns_what_is_planted(bench: Bench) -> None:
    planted = plant(METHOD, "content")
    assert planted.f1(METHOD.fit(planted.training, METHOD.settings, bench)) > 0.95


@pytest.mark.parametrize("has_sessions", [False, True])
def test_any_window_has_a_score(bench: Bench, has_sessions: bool) -> None:
    scorer = fit(training([(0,), (1, 2)], has_sessions=has_sessions), SETTINGS, bench)
    scores = scorer([(0,), (4,), tuple(range(5)) * 600])
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scorer([]).tolist() == []
