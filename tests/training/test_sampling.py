from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.training import sampling
from logllm_core.training.recipes import Recipe, Stage, recipe_named


def windows(message_ids: list[tuple[int, ...]], is_anomalous: list[bool] | None) -> Windows:
    return Windows(
        window_ids=np.arange(len(message_ids)),
        message_ids=message_ids,
        is_anomalous=None if is_anomalous is None else np.array(is_anomalous),
    )


def recipe(**settings: object) -> Recipe:
    stage = Stage(name="1", trains=("decoder",), num_epochs=1, learning_rate=1.0)
    return Recipe.parse({"name": "test", "stages": (stage,), **settings}, origin="test")


def test_the_minority_is_repeated_as_equation_1_says() -> None:
    # N = 100, alpha = 0.1, beta = 0.3: 0.3 * 0.9 / 0.7 * 100 = 38.57 places for 10 windows.
    labels = np.array([True] * 10 + [False] * 90)
    places = sampling.oversampled(labels, 0.3, np.random.default_rng(0))
    counts = np.bincount(places, minlength=100)
    assert counts[10:].tolist() == [1] * 90
    assert counts[:10].sum() == 39
    assert set(counts[:10]) == {3, 4}


def test_normal_windows_are_repeated_where_they_are_the_minority() -> None:
    labels = np.array([True] * 90 + [False] * 10)
    places = sampling.oversampled(labels, 0.3, np.random.default_rng(0))
    assert (places >= 90).sum() == 39


def test_nothing_is_repeated_where_the_minority_is_large_enough() -> None:
    labels = np.array([True] * 40 + [False] * 60)
    places = sampling.oversampled(labels, 0.3, np.random.default_rng(0))
    assert sorted(places) == list(range(100))


@given(
    num_anomalous=st.integers(1, 50),
    num_normal=st.integers(1, 50),
    beta=st.floats(0, 0.9),
)
def test_the_minoritys_share_is_beta_or_what_it_was(
    num_anomalous: int, num_normal: int, beta: float
) -> None:
    labels = np.array([True] * num_anomalous + [False] * num_normal)
    places = sampling.oversampled(labels, beta, np.random.default_rng(0))
    assert set(places) == set(range(len(labels)))  # no window is lost
    minority = min(num_anomalous, num_normal)
    majority = max(num_anomalous, num_normal)
    wanted = max(minority, beta * majority / (1 - beta))
    assert abs(len(places) - majority - wanted) <= 0.5


def test_an_even_pool_holds_each_distinct_window_equally_often() -> None:
    # Normal: (0,) 27 times, (1,) twice, (2,) once; anomalous: (3,) nine times, (4,) once.
    message_ids: list[tuple[int, ...]] = [*[(0,)] * 27, *[(1,)] * 2, (2,), *[(3,)] * 9, (4,)]
    found = windows(message_ids, [False] * 30 + [True] * 10)
    pool = np.arange(40)
    even = sampling.evened(pool, found, 128, np.random.default_rng(0))
    counts = Counter(message_ids[place][0] for place in even)
    assert counts == {0: 10, 1: 10, 2: 10, 3: 5, 4: 5}


def test_windows_alike_within_the_limit_or_of_two_labels_are_told_apart_as_trained() -> None:
    found = windows([(1, 2), (1, 2, 3), (1, 2)], [False, False, True])
    pool = np.arange(3)
    even = sampling.evened(pool, found, 2, np.random.default_rng(0))
    assert sorted(even) == [0, 0, 2]


def test_epochs_are_seeded_and_differ_from_each_other() -> None:
    found = windows([(i,) for i in range(40)], [i < 10 for i in range(40)])
    stage = Stage(name="2", trains=("projector",), num_epochs=2, learning_rate=1.0)
    first, second = sampling.epochs(stage, recipe(), found)
    again, _ = sampling.epochs(stage, recipe(), found)
    other, _ = sampling.epochs(stage, recipe(seed=1), found)
    assert first.tolist() == again.tolist()
    assert first.tolist() != second.tolist()
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize(
    ("settings", "num_expected"),
    # 30 normal and 10 anomalous; beta 0.3 wants 12.86 anomalous: a pool of 43.
    [({}, 43), ({"num_samples": 5}, 5), ({"min_samples": 100}, 100), ({"min_samples": 10}, 43)],
)
def test_a_stage_takes_as_many_samples_as_it_says(
    settings: dict[str, int], num_expected: int
) -> None:
    found = windows([(i,) for i in range(40)], [i < 10 for i in range(40)])
    values = {"name": "2", "trains": ("projector",), "num_epochs": 1, "learning_rate": 1.0}
    stage = Stage.parse(values | settings, origin="test")
    (places,) = sampling.epochs(stage, recipe(), found)
    assert len(places) == num_expected
    if num_expected >= 43:
        assert (places < 10).mean() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(("label", "found"), [(False, "holds no anom"), (True, "holds only anom")])
def test_a_training_split_with_one_class_is_refused(label: bool, found: str) -> None:
    with pytest.raises(LogLLMError, match=found):
        sampling.check_both_classes("bgl", windows([(1,), (2,)], [label, label]))


def test_a_training_split_without_labels_is_refused() -> None:
    with pytest.raises(LogLLMError, match="mine is not labelled"):
        sampling.check_both_classes("mine", windows([(1,), (2,)], None))


def test_an_epochs_last_batch_may_be_a_smaller_one() -> None:
    # 11 windows, 4 of them anomalous: more than 30 %, so an epoch is all of them once.
    found = windows([(i,) for i in range(11)], [i < 4 for i in range(11)])
    stage = Stage(name="2", trains=("projector",), num_epochs=2, learning_rate=1.0)
    batches = sampling.batches(stage, recipe(batch_size=5), found)
    assert [len(places) for places in batches] == [5, 5, 1, 5, 5, 1]
    for epoch in (batches[:3], batches[3:]):
        assert sorted(np.concatenate(epoch)) == list(range(11))


def test_fewer_epochs_are_the_first_of_more() -> None:
    found = windows([(i,) for i in range(11)], [i < 4 for i in range(11)])
    few, more = (
        sampling.batches(
            Stage(name="2", trains=("projector",), num_epochs=number, learning_rate=1.0),
            recipe(),
            found,
        )
        for number in (1, 3)
    )
    assert [places.tolist() for places in few] == [places.tolist() for places in more[: len(few)]]


def test_each_stage_has_an_order_of_its_own() -> None:
    found = windows([(i,) for i in range(40)], [i < 20 for i in range(40)])
    orders = {
        sampling.digest(
            sampling.batches(
                Stage(name=name, trains=("projector",), num_epochs=1, learning_rate=1.0),
                recipe(seed=seed),
                found,
            )
        )
        for name in ("1", "2", "2-1")
        for seed in (0, 1)
    }
    assert len(orders) == 6


def test_an_even_epoch_is_as_long_and_as_balanced_as_another() -> None:
    message_ids: list[tuple[int, ...]] = [*[(0,)] * 60, *[(i,) for i in range(1, 31)], (99,)]
    found = windows(message_ids, [False] * 90 + [True])
    stage = Stage(name="2", trains=("projector",), num_epochs=1, learning_rate=1.0)
    (plain,) = sampling.epochs(stage, recipe(), found)
    (even,) = sampling.epochs(stage, recipe(is_even=True), found)
    assert found.is_anomalous is not None
    # 90 normal windows; 0.3 / 0.7 * 90 = 38.57 anomalous ones.
    assert len(plain) == len(even) == 129
    assert found.is_anomalous[plain].sum() == found.is_anomalous[even].sum() == 39
    counts = Counter(message_ids[place] for place in even)
    assert {counts[(i,)] for i in range(31)} == {2, 3}  # 90 normal places, 31 distinct windows


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(1, 20), st.integers(0, 1_000))
def test_every_stretch_of_an_interleaved_pool_holds_the_pool_s_shares(
    labels: list[bool], size: int, seed: int
) -> None:
    is_anomalous = np.array(labels)
    pool = np.random.default_rng(seed).permutation(len(labels))
    order = sampling.interleaved(pool, is_anomalous[pool], np.random.default_rng(seed))
    assert sorted(order) == list(range(len(labels)))
    for start in range(0, len(order), size):
        batch = is_anomalous[order[start : start + size]]
        # A class is off by one at most at either end.
        assert abs(batch.sum() - is_anomalous.mean() * len(batch)) <= 2


def test_a_batch_of_an_even_recipe_holds_both_classes() -> None:
    found = windows([(number,) for number in range(100)], [True] * 10 + [False] * 90)
    stage = Stage(name="1", trains=("decoder",), num_epochs=1, learning_rate=1.0)
    assert found.is_anomalous is not None
    spreads = {}
    for is_even in (True, False):
        of = recipe(is_even=is_even, beta=0.5, batch_size=8)
        batches = sampling.batches(stage, of, found)
        counts = [int(found.is_anomalous[places].sum()) for places in batches if len(places) == 8]
        spreads[is_even] = max(counts) - min(counts)
    assert spreads[True] <= 2 < spreads[False]  # 3 to 5 of 8


@pytest.mark.parametrize(
    ("words", "wanted"), [(("weights",), 0x3898AAB2), (("a", "b"), 0xA36CF709)]
)
def test_a_purposes_seed_is_the_same_everywhere(words: tuple[str, ...], wanted: int) -> None:
    """The first four bytes of `printf 0:weights | sha256sum`."""
    assert sampling.derived_seed(0, *words) == wanted
    assert sampling.derived_seed(1, *words) != wanted


@pytest.mark.parametrize(
    ("num_normal", "num_anomalous", "num_expected"),
    # Published training splits, and the pools that the reference code makes of them: a minority of
    # 30 % (of Liberty, the normal windows), and 50,000 samples at least.
    [
        pytest.param(446_551, 13_497, 637_930, id="hdfs"),
        pytest.param(33_699, 4_009, 50_000, id="bgl"),
        pytest.param(5_856, 34_144, 50_000, id="liberty"),
        pytest.param(79_160, 837, 113_085, id="thunderbird"),
    ],
)
def test_the_references_pools_are_as_large_as_the_codes(
    num_normal: int, num_anomalous: int, num_expected: int
) -> None:
    labels = [False] * num_normal + [True] * num_anomalous
    found = windows([(0,)] * len(labels), labels)
    reference = recipe_named("reference")
    places = next(sampling.epochs(reference.stages[1], reference, found))
    assert abs(len(places) - num_expected) <= 1  # the code cuts where we round
