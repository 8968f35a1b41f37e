import numpy as np
import pytest
import torch

from logllm_core.paper.building_blocks.interface import Bench
from logllm_core.paper.detectors.deeplog import METHOD, DeepLog, DeepLogSettings, fit
from tests.paper.planted import Pattern, plant

# Of the four events of a healthy program one comes next.
SMALL = DeepLogSettings(
    num_epochs=30, batch_size=512, learning_rate=1e-2, num_units=16, num_candidates=1
)


def test_it_has_two_layers_of_64_units_on_one_hot_keys() -> None:
    network = DeepLog(5, DeepLogSettings())
    shapes = {name: tuple(found.shape) for name, found in network.named_parameters()}
    assert shapes["lstm.weight_ih_l0"] == (4 * 64, 5)
    assert shapes["lstm.weight_hh_l1"] == (4 * 64, 64)
    assert shapes["output.weight"] == (5, 64)


def test_the_order_of_a_history_counts() -> None:
    torch.manual_seed(0)
    network = DeepLog(3, DeepLogSettings())
    first, second = network(torch.tensor([[0, 1, 2], [1, 0, 2]]))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("pattern", ["order", "content"])
def test_it_learns_a_planted_pattern(pattern: Pattern, bench: Bench) -> None:
    planted = plant(METHOD, pattern)
    scorer = fit(planted.training, SMALL, bench)
    assert planted.pr_auc(scorer) > 0.95
    assert planted.f1(scorer) > 0.95


def test_new_short_and_long_windows_have_scores(bench: Bench) -> None:
    planted = plant(METHOD, "content", num_train=40)
    scorer = fit(planted.training, SMALL.model_copy(update={"num_epochs": 1}), bench)
    new = planted.training.events.num_known
    assert new < len(planted.training.events.texts)
    scores = scorer([(new,), (0,), (new,) * 5_000, (0, 1, 2, new) * 500])
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (scores > 0.5).tolist() == [True, False, True, True]


def test_windows_of_one_event_can_be_learnt_from(bench: Bench) -> None:
    planted = plant(METHOD, "order", num_train=10)
    training = planted.training
    alone = type(training)(
        windows=[(0,), (1,)], is_anomalous=np.zeros(2, dtype=bool), events=training.events
    )
    assert fit(alone, SMALL, bench)([(0,)]).tolist() == [0.5]
