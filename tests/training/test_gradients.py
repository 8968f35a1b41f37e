"""The gradient of a batch, as one process or several leave it."""

import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from logllm_core.model.logllm import LogLLM
from logllm_core.signals import Interruption
from logllm_core.training.gradients import Outcome, accumulate
from logllm_core.training.process_team import Team
from logllm_core.training.stage_run import StageRun
from tests import tiny
from tests.training import small

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Share(Team):
    """One of several processes that keeps to itself: its own share is what it sums."""

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor


def awake_model() -> LogLLM:
    """With adapters that are not zero, so that every trained weight has a gradient."""
    model = tiny.model()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=generator)
    return model


def with_uneven_answers(model: LogLLM) -> LogLLM:
    """The answer "anomalous" gets three tokens more; both end as before."""
    normal, anomalous = model.prompt.answers
    longer = (*anomalous[:-1], *anomalous[:3], anomalous[-1])
    model.prompt = replace(model.prompt, answers=(normal, longer))
    return model


def batch(
    model: LogLLM,
    folder: Path,
    *,
    team: Team = small.ALONE,
    is_asked_to_stop: bool = False,
    places: list[int] | None = None,
    **settings: object,
) -> tuple[StageRun, Outcome]:
    """A stage, and what came of its first batch, or of one of windows at these places."""
    of = small.recipe(batch_size=11, **settings)
    run = small.stage_run(model, of, folder)
    outcome = accumulate(
        model,
        run.state,
        run.material,
        run.batches[0] if places is None else np.array(places),
        stage_name="3",
        recipe=of,
        team=team,
        interruption=Interruption(noted=signal.SIGTERM if is_asked_to_stop else None),
    )
    return run, outcome


@pytest.mark.parametrize("is_uneven", [False, True])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_micro_batches_add_up_to_the_batch(size: int, is_uneven: bool, tmp_path: Path) -> None:
    found = []
    for micro_batch_size in (11, size):
        model = with_uneven_answers(awake_model()) if is_uneven else awake_model()
        found.append(
            batch(model, tmp_path, has_lora_dropout=False, micro_batch_size=micro_batch_size)
        )
    (whole, expected), (parted, outcome) = found
    assert outcome.loss == pytest.approx(expected.loss, rel=1e-5)
    for name, parameter in whole.state.parameters.items():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name
        torch.testing.assert_close(
            parted.state.parameters[name].grad, parameter.grad, rtol=1e-3, atol=1e-6
        )


def test_every_answer_token_weighs_alike(tmp_path: Path) -> None:
    """Three normal windows of 7 tokens each and one anomalous window of 10: by hand."""
    model = with_uneven_answers(awake_model())
    places = [0, 1, 2, 7]
    run, outcome = batch(model, tmp_path, has_lora_dropout=False, micro_batch_size=3, places=places)
    assert list(map(len, model.prompt.answers)) == [6, 9]
    total = 0.0
    for place in places:
        ids, is_anomalous = small.TRAIN[place], 2 in small.TRAIN[place]
        alone = model(run.material.collator.training_batch([ids], [is_anomalous]))
        total += alone.item() * (9 if is_anomalous else 6)
    assert outcome.loss == pytest.approx(total / (3 * 6 + 9), rel=1e-5)


def test_windows_of_like_length_share_a_micro_batch(tmp_path: Path) -> None:
    model = tiny.model()
    lengths: list[int] = []
    model.decoder.model.register_forward_pre_hook(
        lambda module, positional, named: lengths.append(named["inputs_embeds"].shape[1]),
        with_kwargs=True,
    )
    batch(model, tmp_path, micro_batch_size=4)
    # One window of one message, five of two, three of three, two of four: the longest of each four
    # in order has 2, 3 and 4.
    around = lengths[0] - 2
    assert lengths == [around + 2, around + 3, around + 4]


def test_the_shares_of_two_processes_are_what_one_computes_with_dropout_too(
    tmp_path: Path,
) -> None:
    """Micro-batches of 2 of eleven windows: three for the first process, three for the other."""
    whole, expected = batch(awake_model(), tmp_path, micro_batch_size=2)
    shares = [
        batch(
            awake_model(),
            tmp_path,
            micro_batch_size=2,
            team=Share(rank=rank, num_processes=2, device=CPU),
        )
        for rank in range(2)
    ]
    assert sum(outcome.loss for _, outcome in shares) == pytest.approx(expected.loss, rel=1e-6)
    for name, parameter in whole.state.parameters.items():
        ones, others = (run.state.parameters[name].grad for run, _ in shares)
        assert ones is not None
        assert others is not None
        torch.testing.assert_close(ones + others, parameter.grad, rtol=1e-4, atol=1e-7)
    # Without dropout the gradient is another one, so this has compared what was dropped.
    plain, _ = batch(awake_model(), tmp_path, micro_batch_size=2, has_lora_dropout=False)
    differing = [
        name
        for name, parameter in whole.state.parameters.items()
        if not torch.allclose(plain.state.parameters[name].grad, parameter.grad, rtol=1e-3)  # type: ignore[arg-type]
    ]
    assert len(differing) == len(whole.state.parameters)


def test_a_process_without_a_micro_batch_leaves_zeros(tmp_path: Path) -> None:
    idle = Share(rank=1, num_processes=2, device=CPU)
    run, outcome = batch(awake_model(), tmp_path, micro_batch_size=5, team=idle, places=[3])
    assert outcome.loss == 0
    assert outcome.is_finite
    assert all(not gradient.any() for gradient in run.state.gradients)
    assert len(run.state.gradients) == len(run.state.parameters)


def test_the_gradient_of_a_batch_does_not_depend_on_the_one_before(tmp_path: Path) -> None:
    run, _ = batch(awake_model(), tmp_path, micro_batch_size=2)
    before = [gradient.clone() for gradient in run.state.gradients]
    accumulate(
        run.model,
        run.state,
        run.material,
        run.batches[0],
        stage_name="3",
        recipe=run.recipe,
        team=small.ALONE,
        interruption=Interruption(),
    )
    for gradient, expected in zip(run.state.gradients, before, strict=True):
        assert torch.equal(gradient, expected)


def test_each_step_and_each_stage_drops_other_elements(tmp_path: Path) -> None:
    losses = set()
    for name, step in (("3", 0), ("3", 1), ("2", 0)):
        model = awake_model()
        run = small.stage_run(model, small.recipe(), tmp_path)
        run.state.change(step=step)
        outcome = accumulate(
            model,
            run.state,
            run.material,
            np.arange(5),
            stage_name=name,
            recipe=run.recipe,
            team=small.ALONE,
            interruption=Interruption(),
        )
        losses.add(outcome.loss)
    assert len(losses) == 3


def test_an_outcome_tells_what_was_asked_and_what_is_not_finite(tmp_path: Path) -> None:
    _, outcome = batch(tiny.model(), tmp_path, is_asked_to_stop=True)
    assert outcome.is_asked_to_stop
    assert outcome.is_finite
    assert outcome.shortage is None
    model = tiny.model()
    with torch.no_grad():
        model.projector.bias.fill_(torch.inf)  # type: ignore[union-attr]
    _, outcome = batch(model, tmp_path)
    assert not outcome.is_asked_to_stop
    assert not outcome.is_finite
