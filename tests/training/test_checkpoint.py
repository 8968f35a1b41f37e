"""Checkpoints on a real disk: whole, damaged, of another training, and where there is no space."""

import json
from pathlib import Path

import pytest
import torch

from logllm_core.errors import LogLLMError
from logllm_core.model.weights import trainable_state
from logllm_core.training.checkpoint import Best, Checkpoints, Progress
from logllm_core.training.stage_plan import Execution
from logllm_core.training.stage_run import StageRun
from tests import tiny
from tests.full_disk import no_file_beyond
from tests.training import small

MADE_FOR = {
    "stage": {"name": "3", "learning_rate": 0.01, "trains": ("projector", "encoder")},
    "inputs": {"windows": "0a1b", "messages": "2c3d"},
}
FILES = (
    "checksums.json",
    "metrics.jsonl",
    "optimizer.safetensors",
    "state.json",
    "weights.safetensors",
)


def save(found: Checkpoints, step: int) -> Path:
    """A checkpoint whose content tells its step."""
    tensors = {
        "weights": {"projector.weight": torch.full((3, 2), float(step))},
        "optimizer": {"projector.weight/step": torch.tensor(float(step))},
    }
    lines = "".join(f'{{"step": {number}}}\n' for number in range(1, step + 1))
    return found.save(
        Progress(step=step, micro_batch_size=4, best=Best(step=1, pr_auc=0.1 + 0.2)),
        tensors,
        {"metrics.jsonl": lines},
    )


def newest_step(found: Checkpoints) -> int | None:
    checkpoint = found.newest()
    return None if checkpoint is None else checkpoint.state.progress.step


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoints:
    """With the checkpoints of the steps 9 and 10."""
    found = small.checkpoints(tmp_path, **MADE_FOR)
    save(found, 9)
    save(found, 10)
    return found


def test_a_checkpoint_gives_back_what_was_saved(saved: Checkpoints, warnings: list[str]) -> None:
    found = saved.newest()
    assert found is not None
    assert found.path == saved.folder / "step-00000010"
    assert sorted(path.name for path in found.path.iterdir()) == sorted(FILES)
    assert found.state.progress == Progress(
        step=10, micro_batch_size=4, best=Best(step=1, pr_auc=0.1 + 0.2)
    )
    weights = found.tensors("weights")
    assert weights.keys() == {"projector.weight"}
    assert torch.equal(weights["projector.weight"], torch.full((3, 2), 10.0))
    assert torch.equal(found.tensors("optimizer")["projector.weight/step"], torch.tensor(10.0))
    assert len(found.text("metrics.jsonl").splitlines()) == 10
    assert warnings == []


def test_a_step_that_is_saved_again_costs_nothing_of_what_is_there(saved: Checkpoints) -> None:
    with no_file_beyond(100), pytest.raises(Exception, match=r"."):  # no room for another one
        save(saved, 11)
    with no_file_beyond(100):
        assert save(saved, 10) == saved.folder / "step-00000010"
    assert newest_step(saved) == 10


def test_where_none_was_saved_there_is_none(tmp_path: Path) -> None:
    assert small.checkpoints(tmp_path).newest() is None


def test_only_two_are_kept(saved: Checkpoints) -> None:
    save(saved, 11)
    names = sorted(path.name for path in saved.folder.iterdir())
    assert names == ["step-00000010", "step-00000011"]


def test_what_a_kill_left_half_written_is_removed(saved: Checkpoints) -> None:
    leftover = saved.folder / ".step-00000011.building"
    leftover.mkdir()
    (leftover / "weights.safetensors").write_bytes(b"half")
    assert newest_step(saved) == 10
    save(saved, 12)
    names = sorted(path.name for path in saved.folder.iterdir())
    assert names == ["step-00000010", "step-00000012"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    name: str, damage: object, saved: Checkpoints, warnings: list[str]
) -> None:
    damage(saved.folder / "step-00000010" / name)  # type: ignore[operator]
    assert newest_step(saved) == 9
    (line,) = warnings
    assert line.startswith(f"Checkpoint {saved.folder / 'step-00000010'} is damaged and passed")
    save(saved, 10)  # as a training that goes on does
    assert newest_step(saved) == 10
    assert len(warnings) == 1


@pytest.mark.parametrize("name", ["checksums.json", "state.json", "metrics.jsonl"])
def test_no_flipped_bit_goes_unnoticed(name: str, saved: Checkpoints, warnings: list[str]) -> None:
    path = saved.folder / "step-00000010" / name
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert newest_step(saved) == 9, place
    assert len(warnings) == len(whole)


def test_where_both_are_damaged_there_is_none(saved: Checkpoints, warnings: list[str]) -> None:
    flip(saved.folder / "step-00000009" / "weights.safetensors")
    cut(saved.folder / "step-00000010" / "optimizer.safetensors")
    assert newest_step(saved) is None
    assert "step-00000010 is damaged and passed over: optimizer.safetensors" in warnings[0]
    assert "step-00000009 is damaged and passed over: weights.safetensors" in warnings[1]


def test_a_checkpoint_of_another_training_is_refused_with_what_differs(
    saved: Checkpoints, tmp_path: Path
) -> None:
    other = {
        "stage": {"name": "3", "learning_rate": 0.02, "trains": ("projector", "encoder")},
        "inputs": {"windows": "ffff", "messages": "2c3d"},
    }
    with pytest.raises(LogLLMError) as fault:
        small.checkpoints(tmp_path, **other).newest()
    assert str(fault.value) == (
        f"The checkpoint {saved.folder / 'step-00000010'} was made for another training: "
        'inputs.windows is "0a1b" there and "ffff" here; stage.learning_rate is 0.01 there and '
        f"0.02 here. Train with those settings, or remove {saved.folder} to begin anew."
    )


def test_a_setting_that_is_new_differs_too(saved: Checkpoints, tmp_path: Path) -> None:
    with pytest.raises(LogLLMError, match="dtype is null there and 1 here"):
        small.checkpoints(tmp_path, **MADE_FOR, dtype=1).newest()


# A stage with checkpoints after every step.


def interrupted_run(folder: Path, num_steps: int) -> StageRun:
    """Six steps, cut off after so many; the last one's checkpoint is not written."""
    run = small.stage_run(tiny.model(), small.recipe(small.stage(num_epochs=2)), folder)
    tripwire = small.Tripwire(num_steps, lambda: 1 / 0)
    with small.shown_on(tripwire), pytest.raises(ZeroDivisionError):
        run.run()
    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> StageRun:
    run = small.stage_run(
        tiny.model(),
        small.recipe(small.stage(num_epochs=2)),
        tmp_path_factory.mktemp("undisturbed"),
        execution=Execution(),
    )
    run.run()
    assert not run.steps.checkpoints.folder.exists()
    return run


def assert_ends_like(undisturbed: StageRun, run: StageRun) -> None:
    assert run.state.metrics == undisturbed.state.metrics
    found, expected = trainable_state(run.model), trainable_state(undisturbed.model)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize(("num_damaged", "num_left"), [(0, 4), (1, 3), (2, 0)])
def test_a_stage_goes_on_from_the_newest_whole_checkpoint_or_begins_anew(
    num_damaged: int,
    num_left: int,
    tmp_path: Path,
    undisturbed: StageRun,
    warnings: list[str],
) -> None:
    folder = interrupted_run(tmp_path, 5).steps.checkpoints.folder
    places = sorted(folder.iterdir(), reverse=True)
    assert [place.name for place in places] == ["step-00000004", "step-00000003"]
    for place in places[:num_damaged]:
        flip(place / "weights.safetensors")
    run = small.stage_run(tiny.model(), small.recipe(small.stage(num_epochs=2)), tmp_path)
    counted: list[int] = []
    with small.shown_on(small.Tripwire(0, lambda: counted.append(1))):
        results = run.run()
    assert len(counted) == 1 + 6 - num_left  # told where it goes on from, then each step
    assert results["num_resumes"] == int(num_left > 0)
    assert len(warnings) == num_damaged
    assert_ends_like(undisturbed, run)


@pytest.mark.parametrize("name", ["optimizer.safetensors", "state.json", "metrics.jsonl"])
def test_a_damaged_file_of_the_newest_costs_one_step_and_nothing_else(
    name: str, tmp_path: Path, undisturbed: StageRun, warnings: list[str]
) -> None:
    flip(interrupted_run(tmp_path, 4).steps.checkpoints.folder / "step-00000003" / name)
    run = small.stage_run(tiny.model(), small.recipe(small.stage(num_epochs=2)), tmp_path)
    run.run()
    assert_ends_like(undisturbed, run)
    assert len(warnings) == 1


@pytest.mark.parametrize("num_bytes", [100, 15_000])  # the weights fit into neither; into one
def test_a_full_disk_leaves_the_last_good_checkpoint_and_does_not_stop_the_training(
    num_bytes: int, tmp_path: Path, undisturbed: StageRun, warnings: list[str]
) -> None:
    run = small.stage_run(tiny.model(), small.recipe(small.stage(num_epochs=2)), tmp_path)
    limit = no_file_beyond(num_bytes)
    acts = {2: limit.__enter__, 5: lambda: limit.__exit__(None, None, None)}
    with small.shown_on(small.Tripwire(0, lambda: acts.pop(run.state.progress.step, int)())):
        run.run()
    assert_ends_like(undisturbed, run)
    # Steps 2, 3 and 4 could not be saved, 5 could, and after 6 there is nothing to save.
    assert [line.partition(" is not")[0] for line in warnings] == [
        f"The checkpoint of step {step}" for step in (2, 3, 4)
    ]
    assert all("File too large" in line for line in warnings)
    place = run.steps.checkpoints.folder
    assert all(f"The last good checkpoint is {place}/step-00000001." in line for line in warnings)
    assert sorted(path.name for path in place.iterdir()) == ["step-00000001", "step-00000005"]
    sums = json.loads((place / "step-00000005" / "checksums.json").read_text())
    assert sums.keys() == set(FILES) - {"checksums.json"}


def test_a_folder_that_is_not_to_be_had_does_not_stop_the_training(
    tmp_path: Path, undisturbed: StageRun, warnings: list[str]
) -> None:
    run = small.stage_run(tiny.model(), small.recipe(small.stage(num_epochs=2)), tmp_path)
    run.steps.checkpoints.folder.touch()  # a file, where a folder should be
    run.run()
    assert_ends_like(undisturbed, run)
    assert len(warnings) == 5
    assert "No checkpoint was kept." in warnings[0]


def test_the_best_weights_so_far_are_in_the_checkpoint(tmp_path: Path) -> None:
    """Cut off after the best validation, a stage still ends with the weights of that one."""

    def validated(folder: Path, seed: int) -> StageRun:
        of = small.recipe(
            small.stage(num_epochs=2, rate=3e-2),
            validation_fraction=0.1,
            num_validations=6,
            seed=seed,
        )
        validation = small.windows(small.VALIDATION)
        return small.stage_run(tiny.model(), of, folder, validation=validation)

    for seed in range(10):  # until the best is in the middle
        whole = validated(tmp_path / str(seed), seed)
        best = whole.run()["best_validation"]
        if 1 < best["step"] < 5:
            break
    assert 1 < best["step"] < 5
    cut_off = validated(tmp_path / "again", seed)
    tripwire = small.Tripwire(best["step"] + 2, lambda: 1 / 0)
    with small.shown_on(tripwire), pytest.raises(ZeroDivisionError):
        cut_off.run()
    run = validated(tmp_path / "again", seed)
    results = run.run()
    assert (results["best_validation"], results["num_resumes"]) == (best, 1)
    assert_ends_like(whole, run)


def test_a_good_checkpoint_is_kept_though_a_damaged_one_bears_a_later_step(
    saved: Checkpoints,
) -> None:
    """Gone on from the one before, the next is saved before the damaged one's step is reached."""
    flip(save(saved, 12) / "weights.safetensors")
    assert newest_step(saved) == 10
    place = save(saved, 11)
    assert newest_step(saved) == 11
    flip(place / "weights.safetensors")
    assert newest_step(saved) == 10
