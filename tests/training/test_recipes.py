from pathlib import Path

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.training.recipes import RECIPES, Recipe, recipe_named


def test_the_papers_recipe_is_section_v_b() -> None:
    paper = recipe_named("paper")
    assert [(s.name, s.num_epochs, s.learning_rate, s.num_samples) for s in paper.stages] == [
        ("1", 1, 5e-4, 1_000),
        ("2", 2, 5e-5, None),
        ("3", 2, 5e-5, None),
    ]
    assert [set(stage.trains) for stage in paper.stages] == [
        {"decoder"},
        {"projector", "encoder"},
        {"projector", "encoder", "decoder"},
    ]
    assert (paper.batch_size, paper.beta, paper.quantization) == (16, 0.3, "nf4")
    assert paper.validation_fraction == 0


def test_the_references_recipe_trains_stage_2_in_two_steps() -> None:
    reference = recipe_named("reference")
    assert [(s.name, s.num_epochs, s.learning_rate, s.min_samples) for s in reference.stages] == [
        ("1", 1, 5e-4, 0),
        ("2-1", 1, 5e-4, 50_000),
        ("2-2", 1, 5e-5, 50_000),
        ("3", 2, 5e-5, 50_000),
    ]
    assert (reference.batch_size, reference.micro_batch_size) == (16, 4)
    assert reference.learning_rate_decay == 0.7


def test_every_recipe_has_the_three_stages() -> None:
    for recipe in RECIPES.values():
        assert sorted({stage.name[0] for stage in recipe.stages}) == ["1", "2", "3"]


def test_an_unknown_recipe_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(LogLLMError, match=r'recipe "slow"\. Known: quick, paper, reference'):
        recipe_named("slow")


def test_all_faults_of_a_recipe_file_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'batchsize = 8\nbeta = 2\n[[stages]]\nname = "1"\ntrains = ["decoder"]\nnum_epochs = 1\n'
    )
    with pytest.raises(LogLLMError) as fault:
        Recipe.load(path, name="mine")
    assert "has 3 faults" in str(fault.value)
    assert "batchsize: no such setting" in str(fault.value)
    assert "beta: " in str(fault.value)
    assert "stages.0.learning_rate: missing" in str(fault.value)
