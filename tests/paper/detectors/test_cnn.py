import numpy as np
import pytest
import torch
from torch import nn

from logllm_core.paper.building_blocks.interface import Bench
from logllm_core.paper.building_blocks.window_classifier import padded
from logllm_core.paper.detectors.cnn import METHOD, CnnSettings, TemplateCnn, fit
from tests.paper.planted import Pattern, plant

CPU = torch.device("cpu")
SMALL = CnnSettings(vector_size=16, num_filters=16, batch_size=16, num_epochs=15)


def summing(values: list[float]) -> TemplateCnn:
    """Filters that add up the templates' values; the logits are those of widths 3 and 5."""
    found = TemplateCnn(len(values), CnnSettings(vector_size=1, num_filters=1)).eval()
    with torch.no_grad():
        found.codebook.weight[:-1, 0] = torch.tensor(values)
        for convolution in found.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            convolution.weight.fill_(1.0)
            assert convolution.bias is not None
            convolution.bias.zero_()
        found.output.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
        found.output.bias.zero_()
    return found


def test_the_highest_sum_of_neighbours_counts() -> None:
    found = summing([1.0, -2.0, 4.0])
    # Three at a time: 1-2+4, -2+4+1, 4+1+1, 1+1, 1. Five: 1-2+4+1+1, then 4 and 6 over the end.
    assert found(*padded([(0, 1, 2, 0, 0)], CPU)).tolist() == [[6.0, 6.0]]
    # 1+4+4 of the end, or all of them: 4-2+1+4+4.
    assert found(*padded([(2, 1, 0, 2, 2)], CPU)).tolist() == [[9.0, 11.0]]


def test_padding_does_not_count() -> None:
    found = summing([-1.0, 3.0])
    alone, beside = padded([(0,)], CPU), padded([(0,), (1, 1, 1, 1)], CPU)
    # A place behind the end would give 0; leaky ReLU leaves a hundredth of -1.
    assert found(*alone)[0].tolist() == pytest.approx([-0.01, -0.01])
    assert found(*beside)[0].tolist() == pytest.approx([-0.01, -0.01])


def test_templates_that_training_lacks_are_all_the_same() -> None:
    found = summing([5.0, -1.0])
    windows = [(0, 2, 2), (0, 9, 700), (0,)]
    first, second, _ = found(*padded(windows, CPU)).tolist()
    assert first == second == [5.0, 5.0]


@pytest.mark.parametrize("pattern", ["order", "content"])
def test_it_learns_a_planted_pattern(pattern: Pattern, bench: Bench) -> None:
    planted = plant(METHOD, pattern)
    scorer = fit(planted.training, SMALL, bench)
    assert planted.pr_auc(scorer) > 0.9
    assert planted.f1(scorer) > 0.8


def test_new_short_and_long_windows_have_scores(bench: Bench) -> None:
    planted = plant(METHOD, "content", num_train=40)
    scorer = fit(planted.training, SMALL.model_copy(update={"num_epochs": 1}), bench)
    scores = scorer([(99,), (0,), (99,) * 5_000, (0, 1, 2, 99) * 500])
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
