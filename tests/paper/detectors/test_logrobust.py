import numpy as np
import pytest
import torch
from torch import nn

from logllm_core.paper.building_blocks.interface import Bench
from logllm_core.paper.building_blocks.window_classifier import padded
from logllm_core.paper.detectors.logrobust import METHOD, AttentionBiLstm, LogRobustSettings, fit
from tests.paper.planted import Pattern, plant

CPU = torch.device("cpu")
SMALL = LogRobustSettings(num_states=16, batch_size=16, num_epochs=15, learning_rate=1e-2)


def network(num_layers: int = 2) -> AttentionBiLstm:
    torch.manual_seed(0)
    settings = LogRobustSettings(num_states=3, num_layers=num_layers)
    return AttentionBiLstm(torch.randn(5, 4), settings).eval()


def test_each_state_counts_by_its_attention() -> None:
    found = network(num_layers=1)
    lstm = found.states.layers[0]
    assert isinstance(lstm, nn.LSTM)
    states_LH, _ = lstm(found.vectors_VE[torch.tensor([1, 4, 2])])
    weights_L = torch.tanh(states_LH @ found.attention.weight[0])
    total_H = sum(weight * state for weight, state in zip(weights_L, states_LH, strict=True))
    torch.testing.assert_close(found(*padded([(1, 4, 2)], CPU))[0], found.output(total_H))


def test_padding_changes_nothing() -> None:
    found = network()
    alone = found(*padded([(3, 1)], CPU))[0]
    beside = found(*padded([(0, 1, 2, 3, 4, 0, 1), (3, 1)], CPU))[1]
    torch.testing.assert_close(beside, alone)


def test_the_second_layer_sees_the_first_one_through_dropout() -> None:
    found = network().train()
    batch = padded([(1, 2, 3)], CPU)
    assert not torch.equal(found(*batch), found(*batch))
    torch.manual_seed(7)
    first = found(*batch)
    torch.manual_seed(7)
    assert torch.equal(found(*batch), first)


def test_checkpoints_need_not_hold_the_vectors() -> None:
    assert not dict(network().named_buffers())


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["order", "content"])
def test_it_learns_a_planted_pattern(pattern: Pattern, bench: Bench) -> None:
    planted = plant(METHOD, pattern)
    scorer = fit(planted.training, SMALL, bench)
    assert planted.pr_auc(scorer) > 0.9
    assert planted.f1(scorer) > 0.7


def test_new_short_and_long_windows_have_scores(bench: Bench) -> None:
    planted = plant(METHOD, "content", num_train=40)
    settings = SMALL.model_copy(update={"num_epochs": 1})
    scorer = fit(planted.training, settings, bench)
    events = planted.training.events
    new = len(events.texts) - 1
    assert new >= events.num_known
    scores = scorer([(new,), (0,), (new,) * 5_000, (0, 1, 2, new) * 500])
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
