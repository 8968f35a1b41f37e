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


def test_every_recipe_has_the_three_stages_but_the_quick_one() -> None:
    for recipe in RECIPES.values():
        stages = ["1", "3"] if recipe.name == "quick" else ["1", "2", "3"]
        assert sorted({stage.name[0] for stage in recipe.stages}) == stages


def test_the_paper_s_and_the_reference_s_rates_neither_warm_up_nor_are_gradients_cut() -> None:
    for name in ("paper", "reference"):
        recipe = recipe_named(name)
        assert (recipe.rate_schedule, recipe.warmup_fraction) == ("tenths", 0)
        assert (recipe.max_gradient_norm, recipe.pooling) == (None, None)


def test_a_decay_by_tenths_has_no_place_beside_a_cosine() -> None:
    with pytest.raises(LogLLMError, match="learning_rate_decay belongs to the rate_schedule"):
        recipe_named("quick").overridden({"learning_rate_decay": 0.7})


def test_an_unknown_recipe_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(
        LogLLMError, match=r'recipe "slow"\. Known: quick, paper, cosine, reference'
    ):
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


# Overriding.


def test_a_setting_is_overridden_and_the_recipe_itself_stays() -> None:
    paper = recipe_named("paper")
    changed = paper.overridden({"batch_size": 8, "stages.3.num_epochs": 5})
    assert (changed.batch_size, changed.stages[2].num_epochs) == (8, 5)
    assert changed.overrides == {"batch_size": 8, "stages.3.num_epochs": 5}
    assert (paper.batch_size, paper.stages[2].num_epochs, paper.overrides) == (16, 2, {})
    assert changed.stages[:2] == paper.stages[:2]


def test_what_was_overridden_shapes_an_outcome_by_its_value_alone() -> None:
    paper = recipe_named("paper")
    assert paper.overridden({"beta": 0.3}).shaping == paper.shaping
    assert paper.overridden({"beta": 0.4}).shaping == {**paper.shaping, "beta": 0.4}
    assert not {"overrides", "name", "stages"} & paper.shaping.keys()


def test_overrides_add_up() -> None:
    changed = recipe_named("paper").overridden({"seed": 1, "beta": 0.2}).overridden({"seed": 2})
    assert (changed.seed, changed.beta) == (2, 0.2)
    assert changed.overrides == {"seed": 2, "beta": 0.2}


def test_a_stage_is_named_as_the_recipe_names_it() -> None:
    changed = recipe_named("reference").overridden({"stages.2-1.learning_rate": 1e-3})
    rates = {stage.name: stage.learning_rate for stage in changed.stages}
    assert rates == {"1": 5e-4, "2-1": 1e-3, "2-2": 5e-5, "3": 5e-5}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("stages.2.num_epochs", "stages.2.num_epochs names no setting of a stage of the recipe"),
        ("stages.2-1", "stages.2-1 names no setting of a stage"),
        ("stages.1.num_epochs.x", "stages.1.num_epochs.x names no setting of a stage"),
        ("stages.1.name", "stages.1.name names no setting of a stage"),
        ("stages.", "Its stages are 1, 2-1, 2-2, 3; write stages.1.num_epochs"),
        (
            "stages.1.epochs",
            "A recipe has no setting stages.1.epochs. Known: learning_rate, min_samples",
        ),
        (
            "stages.1.beta",
            "A recipe has no setting stages.1.beta. Known: learning_rate, min_samples",
        ),
        (
            "batchsize",
            "A recipe has no setting batchsize. Known: batch_size, beta, decoder_depth, ",
        ),
        ("stages", "A recipe has no setting stages. Known: "),
        ("name", "A recipe has no setting name. Known: "),
        ("overrides", "A recipe has no setting overrides. Known: "),
    ],
)
def test_an_unknown_stage_or_setting_is_an_error_that_lists_the_known_ones(
    key: str, said: str
) -> None:
    with pytest.raises(LogLLMError) as fault:
        recipe_named("reference").overridden({key: 1})
    assert said in str(fault.value)


def test_all_values_that_cannot_be_are_told_at_once() -> None:
    changes = {"beta": 2, "stages.1.num_epochs": -1, "micro_batch_size": 0}
    with pytest.raises(LogLLMError) as fault:
        recipe_named("paper").overridden(changes)
    lines = str(fault.value).splitlines()
    assert lines[0].startswith("The recipe paper with these changes has ")
    for place in ("beta: ", "stages.0.num_epochs: ", "micro_batch_size."):
        assert any(line.startswith(f"  {place}") for line in lines[1:]), place


@pytest.mark.parametrize(("value", "kept"), [("auto", "auto"), (1, 1), ("8", 8)])
def test_a_micro_batch_has_a_size_or_finds_one(value: object, kept: object) -> None:
    changed = recipe_named("paper").overridden({"micro_batch_size": value})
    assert changed.micro_batch_size == kept


# Which stages train.


def test_a_stage_of_no_epochs_is_skipped() -> None:
    changed = recipe_named("paper").overridden({"stages.2.num_epochs": 0})
    assert [stage.name for stage in changed.trained_stages] == ["1", "3"]
    assert [stage.name for stage in changed.stages] == ["1", "2", "3"]


def test_without_an_embedder_the_decoder_is_all_that_trains() -> None:
    changed = recipe_named("reference").overridden({"embedder": "none"})
    assert [(stage.name, stage.trains) for stage in changed.trained_stages] == [
        ("1", ("decoder",)),
        ("3", ("decoder",)),
    ]


def test_with_a_vector_an_id_all_parts_train() -> None:
    changed = recipe_named("paper").overridden({"embedder": "message-id"})
    assert changed.trained_stages == changed.stages


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_validations": 3}, "num_validations needs a validation_fraction above 0"),
        ({"patience": 3, "validation_fraction": 0.1}, "patience counts validations"),
        (
            {f"stages.{name}.num_epochs": 0 for name in "123"},
            "no stage is left to train: each is skipped or trains what is missing",
        ),
        (
            {"embedder": "none", "stages.1.num_epochs": 0, "stages.3.num_epochs": 0},
            "no stage is left to train",
        ),
        ({"max_message_tokens": 2}, "max_message_tokens: "),
        ({"learning_rate_decay": 0}, "learning_rate_decay: "),
        ({"stages.1.learning_rate": 0}, "stages.0.learning_rate: "),
        ({"micro_batch_size": "most"}, "micro_batch_size."),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(LogLLMError) as fault:
        recipe_named("paper").overridden(changes)
    assert said in str(fault.value)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([], "a recipe needs at least one stage"),
        (["1", "1"], "stage names must differ from each other"),
        (["one"], "stages.0.name: "),
    ],
)
def test_stages_are_there_and_told_apart(stages: list[str], said: str) -> None:
    values = {"trains": ("decoder",), "num_epochs": 1, "learning_rate": 1.0}
    with pytest.raises(LogLLMError) as fault:
        Recipe.parse(
            {"name": "mine", "stages": [{"name": name, **values} for name in stages]},
            origin="mine",
        )
    assert said in str(fault.value)


def test_layers_are_compiled_or_recomputed_not_both() -> None:
    with pytest.raises(LogLLMError, match="is_compiled and recomputes_activations exclude"):
        recipe_named("quick").overridden({"is_compiled": True, "recomputes_activations": True})
