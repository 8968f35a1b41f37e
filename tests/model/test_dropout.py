import pytest
import torch
from torch import Tensor

from logllm_core.model.dropout import QuickDropout
from tests.model.compiling import lets_torch_warn, needs_compiler

NUM_ELEMENTS = 400_000


def dropped(dropout: QuickDropout, x: Tensor, *, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    found = dropout(x)
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_the_probability_and_the_mean_stays(probability: float) -> None:
    found = dropped(QuickDropout(probability), torch.ones(NUM_ELEMENTS))
    # Five standard deviations of a binomial share.
    tolerance = 5 * (probability * (1 - probability) / NUM_ELEMENTS) ** 0.5
    assert (found == 0).float().mean().item() == pytest.approx(probability, abs=tolerance)
    scale = 1 / (1 - probability)
    (kept,) = set(found[found != 0].tolist())
    assert kept == pytest.approx(scale, rel=1e-3)
    assert found.mean().item() == pytest.approx(1, abs=scale * tolerance + 1e-3)


def test_elements_that_share_a_draw_are_dropped_independently() -> None:
    is_zero = dropped(QuickDropout(0.3), torch.ones(NUM_ELEMENTS)) == 0
    lanes = is_zero.view(-1, 4).double()  # four elements a draw of 64 bits
    together = lanes.T @ lanes / len(lanes)
    expected = torch.full((4, 4), 0.3**2).fill_diagonal_(0.3).double()
    torch.testing.assert_close(together, expected, rtol=0, atol=0.007)


def test_a_seed_gives_its_mask_again_and_another_seed_another() -> None:
    dropout, x = QuickDropout(0.5), torch.ones(8, 33)
    assert torch.equal(dropped(dropout, x, seed=3), dropped(dropout, x, seed=3))
    assert not torch.equal(dropped(dropout, x, seed=3), dropped(dropout, x, seed=4))


def test_one_pass_after_another_has_another_mask() -> None:
    dropout, x = QuickDropout(0.5), torch.ones(99)
    torch.manual_seed(0)
    assert not torch.equal(dropout(x), dropout(x))


def test_it_is_off_in_evaluation_and_with_probability_0() -> None:
    x = torch.randn(5, 7)
    assert QuickDropout(0.5).eval()(x) is x
    assert QuickDropout(0.0)(x) is x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (5, 1), (3, 5, 7), (0, 4)])
def test_any_size_and_number_format_keeps_its_own(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.full(shape, 3.0, dtype=dtype)
    found = dropped(QuickDropout(0.5), x)
    assert (found.shape, found.dtype) == (x.shape, dtype)
    assert set(found.flatten().tolist()) <= {0.0, 6.0}  # 3 / (1 - 0.5)


def test_what_is_not_contiguous_is_dropped_in_place_too() -> None:
    found = dropped(QuickDropout(0.5), torch.arange(1.0, 13.0).view(3, 4).T)
    assert set((found / torch.arange(1.0, 13.0).view(3, 4).T).flatten().tolist()) == {0.0, 2.0}


def test_the_gradient_is_the_mask_and_its_scale() -> None:
    x = torch.ones(101, requires_grad=True)
    found = dropped(QuickDropout(0.25), x)
    torch.autograd.backward(found.sum())
    assert x.grad is not None
    assert torch.equal(x.grad, found.detach())  # of ones
    assert 0 < int((x.grad == 0).sum()) < 101


@lets_torch_warn
@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager_decomp_partition",  # what merges like calls, without a C++ compiler
        pytest.param("inductor", marks=[pytest.mark.slow, needs_compiler]),
    ],
)
def test_compiled_the_masks_are_the_same_and_two_of_one_input_stay_two(backend: str) -> None:
    first, second = QuickDropout(0.5), QuickDropout(0.5, number=1)

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        return first(x), second(x)

    compiled = torch.compile(both, dynamic=True, backend=backend)
    x = torch.ones(101, requires_grad=True)
    torch.manual_seed(0)
    plain = both(x)
    torch.manual_seed(0)
    found = compiled(x)
    assert torch.equal(found[0], plain[0])
    assert torch.equal(found[1], plain[1])
    assert not torch.equal(found[0], found[1])
    torch.autograd.backward(found[0].sum() + 3 * found[1].sum())
    assert x.grad is not None
    assert torch.equal(x.grad, (found[0] + 3 * found[1]).detach())
