"""Stages of a small log in a store."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from loguru import logger
from pydantic import TypeAdapter
from safetensors.torch import load_file

from logllm_core.errors import LogLLMError
from logllm_core.store.store import Artifact
from logllm_core.training import stage
from logllm_core.training.stage import Order, find_stage, train_stage
from logllm_core.training.stage_plan import Execution
from tests.rewriting import rewrite
from tests.training import small
from tests.training.small import Case

SELDOM = Execution(checkpoint_minutes=1_000)


RECIPE = small.recipe(*map(small.stage, small.TRAINS), micro_batch_size=2)


@pytest.fixture
def case(tmp_path: Path, backbones_dir: Path) -> Case:
    return Case(data_dir=tmp_path, backbones_dir=backbones_dir, recipe=RECIPE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """The case, trained with a checkpoint after each step."""

    stages: list[Artifact]
    lines: list[str]  # of the log meanwhile
    leftovers: list[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, backbones_dir: Path) -> Trained:
    case = Case(
        data_dir=tmp_path_factory.mktemp("trained"), backbones_dir=backbones_dir, recipe=RECIPE
    )
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]))
    stages = case.train(small.EVERY_STEP)
    logger.remove(sink)
    return Trained(stages=stages, lines=lines, leftovers=case.leftovers)


def with_settings(case: Case, **settings: object) -> Case:
    recipe = case.recipe.overridden(settings)
    return Case(data_dir=case.data_dir, backbones_dir=case.backbones_dir, recipe=recipe)


def test_each_stage_leaves_its_weights_its_metrics_and_what_came_out(trained: Trained) -> None:
    stages = trained.stages
    assert len({stage.fingerprint for stage in stages}) == 3
    for found, wanted in zip(stages, RECIPE.stages, strict=True):
        assert found.manifest["config"]["stage"] == wanted.model_dump(mode="json")
        assert {entry["name"] for entry in found.manifest["files"]} == {
            "trainable.safetensors",
            "metrics.jsonl",
        }
        rows = [
            json.loads(line) for line in (found.path / "metrics.jsonl").read_text().splitlines()
        ]
        assert [row["step"] for row in rows] == [1, 2, 3]
        assert found.results["num_steps"] == 3
        assert found.results["first_loss"] == rows[0]["loss"]
        assert found.results["dtype"] in {"torch.bfloat16", "torch.float32"}
        assert found.results["overrides"] == {}
    assert stages[2].manifest["inputs"]["previous"] == stages[1].fingerprint
    assert any(line.startswith("small stage 2: 3 steps, loss ") for line in trained.lines)
    assert trained.leftovers == []


def test_a_stage_begins_with_the_weights_of_the_one_before(trained: Trained) -> None:
    paths = [stage.path / "trainable.safetensors" for stage in trained.stages]
    first, second, third = map(load_file, paths)
    for name in first:
        is_of_decoder = name.startswith("decoder")
        assert torch.equal(first[name], second[name]) == is_of_decoder
        assert not torch.equal(second[name], third[name])


def test_a_trained_stage_is_found_and_not_trained_again(case: Case) -> None:
    plan = case.plan()
    with pytest.raises(LogLLMError, match=r"Stage 1 of small has not been trained .* train small"):
        find_stage(case.store, plan)
    trained = train_stage(case.store, plan)
    before = (trained.path / "manifest.json").read_text()
    assert find_stage(case.store, plan) == trained
    assert train_stage(case.store, plan, small.EVERY_STEP) == trained  # how it is run is no matter
    assert (trained.path / "manifest.json").read_text() == before


def test_checkpoints_do_not_change_what_comes_out(trained: Trained, case: Case) -> None:
    assert small.files_of(case.train(SELDOM)) == small.files_of(trained.stages)


def test_the_test_split_is_not_read_while_training_and_validating(case: Case) -> None:
    case = with_settings(case, validation_fraction=0.1, num_validations=3, patience=3)
    _, windows = small.prepare(case.store)
    files = small.files_of(case.train(SELDOM))
    assert b"validation_pr_auc" in b"".join(files.values())
    shutil.rmtree(case.data_dir / "models")
    shutil.rmtree(windows.path / "split=test")
    rewrite(windows.path)
    assert small.files_of(case.train(SELDOM)) == files


def test_the_validation_split_is_not_read_where_nothing_is_chosen_by_it(case: Case) -> None:
    plan = case.plan()
    shutil.rmtree(plan.windows.path / "split=validation")
    assert train_stage(case.store, plan).results["best_validation"] is None


@pytest.mark.parametrize("embedder", ["message-id", "none"])
def test_models_with_other_embedders_are_trained_stage_by_stage(embedder: str, case: Case) -> None:
    case = with_settings(case, embedder=embedder)
    stages = case.train()
    names = [found.manifest["config"]["stage"]["name"] for found in stages]
    assert names == (["1", "3"] if embedder == "none" else ["1", "2", "3"])
    weights = load_file(stages[-1].path / "trainable.safetensors")
    assert {name.partition(".")[0] for name in weights} == (
        {"decoder"} if embedder == "none" else {"decoder", "encoder", "projector"}
    )


def cut_off(case: Case, after_step: int) -> None:
    """Train the first stage, and fail after a step."""
    with (
        small.shown_on(small.Tripwire(after_step, lambda: 1 / 0)),
        pytest.raises(ZeroDivisionError),
    ):
        train_stage(case.store, case.plan(), small.EVERY_STEP)


def test_a_stage_that_failed_is_gone_on_with_and_its_checkpoints_go_in_the_end(
    case: Case,
) -> None:
    lines: list[str] = []
    logger.add(lambda message: lines.append(message.record["message"]))
    cut_off(case, 3)
    (folder,) = case.leftovers
    assert folder.endswith(".checkpoints")
    trained = train_stage(case.store, case.plan(), small.EVERY_STEP)
    assert "Stage 1 goes on after step 2 of 3" in lines
    assert trained.results["num_resumes"] == 1
    assert case.leftovers == []
    files = small.files_of([trained])
    shutil.rmtree(trained.path)
    assert small.files_of([train_stage(case.store, case.plan(), SELDOM)]) == files


def test_checkpoints_that_a_kill_left_beside_a_trained_stage_are_removed(case: Case) -> None:
    """As between the rename of the artifact and the removal of its checkpoints."""
    cut_off(case, 3)
    (name,) = case.leftovers
    folder = case.data_dir / "models" / "small" / name
    shutil.copytree(folder, case.data_dir / "kept")
    trained = train_stage(case.store, case.plan())
    shutil.copytree(case.data_dir / "kept", folder)
    assert case.leftovers == [name]
    assert train_stage(case.store, case.plan()) == trained
    assert case.leftovers == []


def test_a_checkpoint_in_other_numbers_is_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the data folder moves to another kind of processor."""
    cut_off(case, 3)
    monkeypatch.setattr(stage, "dtype_of", lambda precision, device: torch.float16)
    with pytest.raises(LogLLMError, match=r'dtype is "torch\..*" there and "torch.float16" here'):
        train_stage(case.store, case.plan())
    assert case.leftovers != []


def test_another_setting_is_another_training_with_checkpoints_of_its_own(case: Case) -> None:
    cut_off(case, 3)
    other = with_settings(case, **{"stages.1.learning_rate": 2e-2})
    trained = train_stage(other.store, other.plan())
    assert trained.results["num_resumes"] == 0
    assert trained.results["overrides"] == {"stages.1.learning_rate": 2e-2}
    assert len(case.leftovers) == 1  # of the first, which can still be gone on with


def test_what_was_overridden_is_not_what_a_stage_is_found_by(case: Case) -> None:
    """A value that says what was so before names the same training."""
    trained = train_stage(case.store, case.plan())
    same = with_settings(case, beta=case.recipe.beta)
    assert find_stage(same.store, same.plan()) == trained


def test_more_processes_than_a_batch_has_work_for_are_refused(case: Case) -> None:
    with pytest.raises(LogLLMError, match=r"has work for 3 of 4 processes\. .*micro_batch_size=1,"):
        train_stage(case.store, case.plan(), Execution(num_processes=4))


def test_an_order_reaches_another_process_as_it_was_given(case: Case, tmp_path: Path) -> None:
    case = with_settings(case, **{"stages.1.num_epochs": 2, "micro_batch_size": "auto"})
    order = Order(
        plan=case.plan(previous=train_stage(case.store, case.plan())),
        execution=Execution(num_processes=2, checkpoint_minutes=0.1),
        out_dir=tmp_path / "out",
    )
    adapter = TypeAdapter(Order)
    assert adapter.validate_json(adapter.dump_json(order)) == order
