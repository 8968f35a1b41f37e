"""Stages of two-layer models in this process."""

import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.model import Embedder
from logllm_core.model.logllm import LogLLM
from logllm_core.model.weights import set_trainable, trainable_parameters, trainable_state
from logllm_core.model.window_answers import score_windows
from logllm_core.training import stage_run
from logllm_core.training.checkpoint import Checkpoints
from logllm_core.training.recipes import Stage
from logllm_core.training.stage_plan import Execution
from logllm_core.training.stage_run import StageRun, learning_rate
from logllm_core.training.training_state import TrainingState
from tests import tiny
from tests.training import small


def tensors_of(model: LogLLM) -> dict[str, torch.Tensor]:
    """All parameters and buffers, those that are not saved too."""
    found = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in found}


def trained(
    folder: Path, *stages: Stage, num_epochs: int = 3, rate: float = 1e-2, **settings: object
) -> StageRun:
    """A stage that has run."""
    stages = stages or (small.stage(num_epochs=num_epochs, rate=rate),)
    run = small.stage_run(
        tiny.model(), small.recipe(*stages, **settings), folder, execution=Execution()
    )
    run.run()
    return run


def assert_same_weights(one: StageRun, other: StageRun) -> None:
    ones, others = trainable_state(one.model), trainable_state(other.model)
    assert ones.keys() == others.keys()
    assert [name for name in ones if not torch.equal(ones[name], others[name])] == []


def test_the_model_learns_which_message_is_the_anomaly(tmp_path: Path) -> None:
    run = trained(tmp_path, num_epochs=60)
    losses = [row["loss"] for row in run.state.rows]
    assert np.mean(losses[-10:]) < 0.3 < 1 < losses[0]
    chances = score_windows(run.model, run.material.collator, small.TRAIN)
    assert (chances > 0.5).tolist() == [2 in ids for ids in small.TRAIN]


@pytest.mark.parametrize(
    ("name", "embedder"),
    [
        (name, embedder)
        for name in small.TRAINS
        for embedder in ("encoder", "message-id", "none")
        if (name, embedder) != ("2", "none")  # which trains nothing that is there
    ],
)
def test_what_a_stage_does_not_train_is_bit_identical_after_it(
    name: str, embedder: Embedder, tmp_path: Path
) -> None:
    model = tiny.model(embedder=embedder)
    run = small.stage_run(model, small.recipe(small.stage(name), embedder=embedder), tmp_path)
    before = tensors_of(model)
    run.run()
    after = tensors_of(model)
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    trains = {key for part in small.TRAINS[name] for key, _ in trainable_parameters(model, part)}
    # A LoRA matrix B begins at 0; with it the gradient of A is 0 in the first step, not after.
    assert changed == trains


def test_the_same_seed_trains_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    one = trained(tmp_path / "one", micro_batch_size=2)
    torch.rand(7)  # what was drawn before does not matter
    again = trained(tmp_path / "again", micro_batch_size=2)
    assert one.state.metrics == again.state.metrics
    assert_same_weights(one, again)


def test_another_seed_trains_other_weights(tmp_path: Path) -> None:
    one, other = trained(tmp_path / "one"), trained(tmp_path / "other", seed=1)
    assert one.state.metrics != other.state.metrics


def test_micro_batches_add_up_to_a_training_with_whole_batches(tmp_path: Path) -> None:
    whole, *parted = (
        trained(tmp_path / str(size), has_lora_dropout=False, micro_batch_size=size)
        for size in (5, 2, 1)
    )
    for run in parted:
        losses, expected = ([row["loss"] for row in r.state.rows] for r in (run, whole))
        np.testing.assert_allclose(losses, expected, rtol=1e-4)
        found, wanted = trainable_state(run.model), trainable_state(whole.model)
        for name in wanted:
            torch.testing.assert_close(found[name], wanted[name], rtol=1e-3, atol=1e-4)


def test_the_adapters_dropout_can_be_switched_off(tmp_path: Path) -> None:
    """Then the first loss is that of the model as it scores; with dropout it is another."""
    losses = {}
    for has_dropout in (True, False):
        model = tiny.model()
        with torch.no_grad():  # as after a stage: a fresh B is 0, and drops nothing that counts
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(0.3)
        of = small.recipe(has_lora_dropout=has_dropout)
        run = small.stage_run(model, of, tmp_path / str(has_dropout), execution=Execution())
        (places, *_) = run.batches
        ids = [run.material.train.message_ids[place] for place in places]
        assert run.material.train.is_anomalous is not None
        labels = run.material.train.is_anomalous[places].tolist()
        with torch.no_grad():
            set_trainable(model, ())
            expected = model(run.material.collator.training_batch(ids, labels)).item()
        stage_run.set_trainable(model, run.stage, of)
        run.run()
        losses[has_dropout] = run.state.rows[0]["loss"] / expected
    assert losses[False] == pytest.approx(1, rel=1e-5)
    assert abs(losses[True] - 1) > 1e-3


def test_the_rate_falls_after_every_tenth_of_a_stage() -> None:
    one = small.stage(rate=1.0)
    of = small.recipe(one, learning_rate_decay=0.5)
    rates = [learning_rate(one, of, step, 20) for step in range(20)]
    assert rates[:4] == [1.0, 1.0, 0.5, 0.5]
    assert rates[-1] == 0.5**9


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    one = small.stage(rate=1.0)
    of = small.recipe(one, rate_schedule="cosine", warmup_fraction=0.25)
    rates = [learning_rate(one, of, step, 12) for step in range(12)]
    # Three steps of warm-up: a quarter, a half, three quarters, then the whole.
    cosine = [(1 + np.cos(np.pi * step / 12)) / 2 for step in range(12)]
    shares = [0.25, 0.5, 0.75] + [1.0] * 9
    np.testing.assert_allclose(rates, np.multiply(shares, cosine))
    assert rates[6] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.02


def test_a_parameter_takes_its_share_of_the_rate_and_goes_on_from_its_own_moments(
    tmp_path: Path,
) -> None:
    def state() -> TrainingState:
        weights = {name: torch.nn.Parameter(torch.zeros(2)) for name in ("whole", "part", "other")}
        factors = {"part": 0.25}
        return TrainingState(weights, micro_batch_size=1, weight_decay=0, rate_factors=factors)

    def step(run: TrainingState, number: int) -> None:
        for place, weight in enumerate(run.parameters.values()):
            assert weight.grad is not None
            weight.grad.copy_(torch.tensor([1.0 + place, number]))
        run.take_step(1.0, 0.1)

    whole, cut = state(), state()
    for run in (whole, cut):
        step(run, 1)
    # Adam's first step is as long as the rate, whatever the gradient.
    for name, moved in (("whole", 0.1), ("part", 0.025), ("other", 0.1)):
        torch.testing.assert_close(whole.parameters[name].data, torch.full((2,), -moved))
    checkpoints = Checkpoints(folder=tmp_path, made_for={})
    cut.save(checkpoints)
    found = checkpoints.newest()
    assert found is not None
    again = state()
    again.go_on_from(found)
    for run in (whole, again):
        step(run, 2)
    for name, weight in whole.parameters.items():
        assert torch.equal(again.parameters[name].data, weight.data)


def test_of_the_three_parts_the_encoder_alone_takes_its_share_of_the_rate(tmp_path: Path) -> None:
    of = small.recipe(encoder_rate_factor=0.25)
    state = small.stage_run(tiny.model(), of, tmp_path).state
    names = iter(state.parameters)
    factors = {
        (group["factor"], name.partition(".")[0])
        for group in state.optimizer.param_groups
        for _, name in zip(group["params"], names, strict=False)
    }
    assert factors == {(0.25, "encoder"), (1.0, "projector"), (1.0, "decoder")}


def test_a_long_gradient_is_cut_to_its_limit_and_a_short_one_stays() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    state = TrainingState({"weight": weight}, micro_batch_size=1)
    for gradient, expected in (([3.0, 4.0], [0.3, 0.4]), ([0.03, 0.04], [0.03, 0.04])):
        assert weight.grad is not None
        weight.grad.copy_(torch.tensor(gradient))  # of length 5, and of .05
        state.take_step(1.0, 0.0, max_norm=0.5)
        torch.testing.assert_close(weight.grad, torch.tensor(expected), rtol=1e-4, atol=0)


def test_a_recipe_s_limit_reaches_the_steps(tmp_path: Path) -> None:
    free, cut = (trained(tmp_path / str(limit), max_gradient_norm=limit) for limit in (1e6, 1e-12))
    # Adam divides by the gradient's size; below its epsilon of 1e-8 hardly a step is left.
    begin = trainable_state(tiny.model())
    moved = [
        max(float((found - begin[name]).abs().max()) for name, found in weights.items())
        for weights in (trainable_state(free.model), trainable_state(cut.model))
    ]
    assert moved[0] > 1e-2
    assert moved[1] < 1e-3


def test_each_step_is_in_the_metrics(tmp_path: Path) -> None:
    # Eleven windows in batches of five: an epoch is three steps, and two epochs are six, so that
    # the rate is halved after 6/10, 12/10 ... of a step: before each step's tenths 0, 1, 3, 5, ...
    run = trained(tmp_path, num_epochs=2, learning_rate_decay=0.5)
    assert [row["step"] for row in run.state.rows] == [1, 2, 3, 4, 5, 6]
    rates = [1e-2 * 0.5**tenths for tenths in (0, 1, 3, 5, 6, 8)]
    assert [row["rate"] for row in run.state.rows] == rates
    assert all(row.keys() == {"step", "loss", "rate"} for row in run.state.rows)
    assert len(run.state.metrics.splitlines()) == 6


def test_the_results_say_what_was_done(tmp_path: Path) -> None:
    model = tiny.model()
    run = small.stage_run(model, small.recipe(small.stage("2", num_epochs=2)), tmp_path)
    results = run.run()
    losses = [row["loss"] for row in run.state.rows]
    # Projector 16 x 32 + 32; adapters of rank 4 on query and value of two layers: 2 x 2 matrices
    # of 4 x 16, twice.
    num_trained = 16 * 32 + 32 + 2 * 2 * 2 * 4 * 16
    assert small.without_time(results) == {
        "num_steps": 6,
        "num_samples": 22,
        "num_trained_parameters": num_trained,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_cut_messages": 0,
        "num_cut_windows": 0,
        "first_loss": losses[0],
        "last_loss": pytest.approx(np.mean(losses)),
        "is_stopped_early": False,
        "best_validation": None,
        "micro_batch_size": 5,
        "num_processes": 1,
        "num_resumes": 0,
    }
    assert 0 < results["training_seconds"] < 60
    assert results["peak_memory_bytes"] > 10_000_000


def test_a_loss_that_is_not_finite_names_step_windows_and_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    model = tiny.model()
    run = small.stage_run(model, small.recipe(small.stage(num_epochs=2)), tmp_path)

    def break_at_step_3(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> object:
        return output * torch.nan if run.state.progress.step == 2 else None

    model.projector.register_forward_hook(break_at_step_3)  # type: ignore[union-attr]
    ids = sorted(70 + place for place in run.batches[2].tolist())
    with pytest.raises(LogLLMError) as fault:
        run.run()
    place = run.steps.checkpoints.folder / "step-00000002"
    assert str(fault.value).startswith(
        f"Stage 3 stops at step 3: its loss is nan (windows {ids}). The last good checkpoint is "
        f"{place}. Lower the rate with --set stages.3.learning_rate=N"
    )
    found = run.steps.checkpoints.newest()
    assert found is not None
    assert found.path == place
    assert found.state.progress.step == 2
    weights = found.tensors("weights")
    assert weights.keys() == run.state.parameters.keys()
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_gradient_that_is_not_finite_stops_though_the_loss_is(tmp_path: Path) -> None:
    model = tiny.model()
    run = small.stage_run(model, small.recipe(), tmp_path)
    before = tensors_of(model)
    parameter = next(iter(run.state.parameters.values()))
    parameter.register_hook(lambda gradient: gradient * torch.inf)  # type: ignore[no-untyped-call]
    with pytest.raises(LogLLMError, match=r"stops at step 1: its gradient is not finite \(windows"):
        run.run()
    assert all(torch.equal(before[name], found) for name, found in tensors_of(model).items())


def test_without_a_checkpoint_the_error_says_so(tmp_path: Path) -> None:
    model = tiny.model()
    with torch.no_grad():
        model.projector.weight.fill_(torch.nan)  # type: ignore[union-attr]
    run = small.stage_run(model, small.recipe(), tmp_path)
    with pytest.raises(LogLLMError, match=r"its loss is nan .* No checkpoint was kept\."):
        run.run()


# Validation.


def validated(folder: Path, num_epochs: int, rate: float = 3e-2, **settings: object) -> StageRun:
    """A stage that has run, with a validation after each epoch."""
    of = small.recipe(
        small.stage(num_epochs=num_epochs, rate=rate),
        **{"validation_fraction": 0.1, "num_validations": num_epochs, **settings},
    )
    validation = small.windows(small.VALIDATION, 500)
    run = small.stage_run(tiny.model(), of, folder, validation=validation, execution=Execution())
    run.run()
    return run


def curve_of(run: StageRun) -> dict[int, float]:
    """The validations by the step that they came after."""
    column = "validation_pr_auc"
    return {row["step"]: row[column] for row in run.state.rows if column in row}


def test_the_weights_of_the_best_validation_are_kept(tmp_path: Path) -> None:
    from sklearn.metrics import average_precision_score

    for seed in range(10):  # until the best is neither the first nor the last
        run = validated(tmp_path / str(seed), num_epochs=6, seed=seed)
        curve = curve_of(run)
        best = max(curve, key=lambda step: curve[step])  # the first of the best
        if 3 < best < 18:
            break
    assert list(curve) == [3, 6, 9, 12, 15, 18]
    assert 3 < best < 18
    results = run._results()
    assert results["best_validation"] == {"step": best, "pr_auc": curve[best]}
    assert not results["is_stopped_early"]
    # A stage that ends there has the same weights, and they have the score that is told of them.
    ending = trained(tmp_path / "ending", num_epochs=best // 3, rate=3e-2, seed=seed)
    assert_same_weights(run, ending)
    scores = score_windows(run.model, run.material.collator, small.VALIDATION)
    labels = [2 in ids for ids in small.VALIDATION]
    assert average_precision_score(labels, scores) == curve[best]


def test_validating_changes_nothing_but_the_choice(tmp_path: Path) -> None:
    run = validated(tmp_path / "one", num_epochs=4)
    other = trained(tmp_path / "other", num_epochs=4, rate=3e-2)
    assert [row["loss"] for row in run.state.rows] == [row["loss"] for row in other.state.rows]


def test_a_stage_ends_after_so_many_validations_without_a_gain(tmp_path: Path) -> None:
    for seed in range(10):  # until there are two in a row before the last
        whole = validated(tmp_path / f"whole-{seed}", num_epochs=7, seed=seed)
        curve = list(curve_of(whole).values())
        ends = [
            number
            for number in range(2, 7)
            if max(curve[number - 1 : number + 1]) <= max(curve[: number - 1])
        ]
        if ends and ends[0] < 6:
            break
    num_done = ends[0] + 1  # epochs, and validations
    assert num_done < 7
    run = validated(tmp_path / "early", num_epochs=7, patience=2, seed=seed)
    results = run._results()
    assert results["is_stopped_early"]
    assert results["num_steps"] == 3 * num_done
    assert results["num_samples"] == 11 * num_done
    assert results["best_validation"]["pr_auc"] == max(curve[:num_done])
    assert run.state.rows == whole.state.rows[: 3 * num_done]


def test_a_gain_begins_the_count_of_validations_without_one_anew(tmp_path: Path) -> None:
    state = small.stage_run(tiny.model(), small.recipe(), tmp_path).state
    counts, bests = [], []
    for pr_auc in (0.5, 0.4, 0.6, 0.6, 0.5):
        state.take_step(loss=1.0, rate=1e-3)
        state.judge(pr_auc)
        counts.append(state.progress.num_validations_without_gain)
        assert state.progress.best is not None
        bests.append(state.progress.best.step)
    assert counts == [0, 1, 0, 1, 2]
    assert bests == [1, 1, 3, 3, 3]  # of equals the first


@pytest.mark.parametrize(
    ("message_ids", "found"),
    [([(0,), (1,)], "0 of its 2 windows"), ([(2,)], "1 of its 1 windows"), ([], "0 of its 0")],
)
def test_a_validation_split_without_both_kinds_is_refused_before_the_first_step(
    message_ids: list[tuple[int, ...]], found: str, tmp_path: Path
) -> None:
    of = small.recipe(validation_fraction=0.1, num_validations=1)
    run = small.stage_run(tiny.model(), of, tmp_path, validation=small.windows(message_ids))
    with pytest.raises(LogLLMError, match=rf"but {found}.* anomalous; .*Raise validation_fraction"):
        run.run()
    assert run.state.progress.step == 0


def test_a_validation_split_without_labels_is_refused(tmp_path: Path) -> None:
    of = small.recipe(validation_fraction=0.1, num_validations=1)
    unlabelled = Windows(window_ids=np.arange(1), message_ids=[(0,)], is_anomalous=None)
    run = small.stage_run(tiny.model(), of, tmp_path, validation=unlabelled)
    with pytest.raises(LogLLMError, match="0 of its 1 windows are anomalous"):
        run.run()


def test_scores_that_are_not_finite_stop_a_stage(tmp_path: Path) -> None:
    """The first step's loss is finite; what so high a rate makes of the weights is not."""
    of = small.recipe(small.stage(rate=1e30), validation_fraction=0.1, num_validations=3)
    validation = small.windows(small.VALIDATION)
    run = small.stage_run(tiny.model(), of, tmp_path, validation=validation)
    with pytest.raises(LogLLMError, match=r"Stage 3 stops at step 1: .*not finite.*learning_rate"):
        run.run()


# Memory.


class SmallMemory:
    """A decoder for which there is memory for three windows at once."""

    def __init__(self, model: LogLLM) -> None:
        self.sizes: list[int] = []
        model.decoder.model.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, module: object, positional: object, named: dict[str, torch.Tensor]) -> None:
        self.sizes.append(len(named["inputs_embeds"]))
        if len(named["inputs_embeds"]) > 3:
            raise torch.OutOfMemoryError("no memory for so many windows")


def test_an_automatic_micro_batch_is_halved_until_it_fits(tmp_path: Path) -> None:
    runs, sizes = {}, {}
    for size in ("auto", 2):
        model = tiny.model()
        memory = SmallMemory(model)
        of = small.recipe(small.stage(num_epochs=2), batch_size=8, micro_batch_size=size)
        run = small.stage_run(model, of, tmp_path / str(size))
        results = run.run()
        assert results["micro_batch_size"] == 2
        runs[size], sizes[size] = run, memory.sizes
    # Eleven windows: batches of 8 and 3.
    assert sizes[2] == [2, 2, 2, 2, 2, 1] * 2
    assert sizes["auto"] == [8, 4, *sizes[2]]
    assert runs["auto"].state.metrics == runs[2].state.metrics
    assert_same_weights(runs["auto"], runs[2])


def test_a_halved_micro_batch_is_gone_on_with_after_a_cut(tmp_path: Path) -> None:
    of = small.recipe(small.stage(num_epochs=2), batch_size=8, micro_batch_size="auto")
    model = tiny.model()
    SmallMemory(model)
    run = small.stage_run(model, of, tmp_path)
    with (
        small.shown_on(small.Tripwire(2, lambda: 1 / 0)),
        pytest.raises(ZeroDivisionError),
    ):
        run.run()
    model = tiny.model()
    memory = SmallMemory(model)
    results = small.stage_run(model, of, tmp_path).run()
    assert memory.sizes == [2, 1, 2, 2, 2, 2, 2, 1]  # from the second of four steps on
    assert results["micro_batch_size"] == 2
    assert results["num_resumes"] == 1


def test_a_failed_attempts_memory_is_free_before_the_next(tmp_path: Path) -> None:
    """A kept exception would keep the frames that it came through, and all tensors in them."""
    model = tiny.model()
    failed: list[weakref.ref[torch.Tensor]] = []
    is_held: list[bool] = []

    def look(module: object, positional: object, named: dict[str, torch.Tensor]) -> None:
        is_held.append(any(reference() is not None for reference in failed))
        if len(named["inputs_embeds"]) > 3:
            failed.append(weakref.ref(named["inputs_embeds"]))
            raise torch.OutOfMemoryError("no memory for so many windows")

    model.decoder.model.register_forward_pre_hook(look, with_kwargs=True)
    of = small.recipe(batch_size=8, micro_batch_size="auto")
    small.stage_run(model, of, tmp_path).run()
    assert len(failed) == 2
    assert not any(is_held)


def test_a_micro_batch_of_a_fixed_size_that_does_not_fit_is_named(tmp_path: Path) -> None:
    model = tiny.model()
    SmallMemory(model)
    run = small.stage_run(model, small.recipe(), tmp_path)
    with pytest.raises(
        LogLLMError,
        match=r"not enough memory at step 1 with micro_batch_size 5\. Lower it, .*=auto\. No check",
    ):
        run.run()


@pytest.mark.parametrize("size", ["auto", 1])
def test_a_single_window_that_does_not_fit_names_other_settings(
    size: object, tmp_path: Path
) -> None:
    model = tiny.model()

    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError

    model.decoder.model.register_forward_pre_hook(refuse)
    run = small.stage_run(model, small.recipe(micro_batch_size=size), tmp_path)
    with pytest.raises(
        LogLLMError, match=r"micro_batch_size 1\. Lower max_window_messages or max_message_tokens"
    ):
        run.run()


def test_another_failure_than_of_memory_is_not_taken_for_one(tmp_path: Path) -> None:
    model = tiny.model()

    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    model.decoder.model.register_forward_pre_hook(fail)
    run = small.stage_run(model, small.recipe(micro_batch_size="auto"), tmp_path)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run.run()
    assert run.state.progress.micro_batch_size == 5
