"""What a person changes in a recipe, from the command line to the recipe that runs."""

from pathlib import Path

import pytest

from flows.cli.settings_options import read_changes
from flows.settings import AblateSettings, CompareSettings, TrainSettings
from logllm_core.errors import LogLLMError


def test_values_are_read_as_toml_and_plain_words_as_they_are() -> None:
    given = [
        "stages.2.num_epochs=5",
        "beta = 0.2",
        "is_even=true",
        "embedder=none",
        'question="Normal = or not?"',
        "micro_batch_size=auto",
    ]
    assert read_changes(given) == {
        "stages.2.num_epochs": 5,
        "beta": 0.2,
        "is_even": True,
        "embedder": "none",
        "question": "Normal = or not?",
        "micro_batch_size": "auto",
    }


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["beta"], "--set beta is not SETTING=VALUE"),
        (["=3"], "--set =3 is not SETTING=VALUE"),
        (["beta=0.1", "beta=0.2"], "--set beta is given twice"),
    ],
)
def test_what_is_no_change_is_refused(given: list[str], found: str) -> None:
    with pytest.raises(LogLLMError, match=found):
        read_changes(given)


def test_options_and_changes_meet_in_the_recipe() -> None:
    settings = TrainSettings(
        recipe="reference", seed=4, overrides={"stages.2-1.num_epochs": 3, "batch_size": 8}
    )
    recipe = settings.find_recipe()
    assert (recipe.seed, recipe.batch_size) == (4, 8)
    assert [stage.num_epochs for stage in recipe.stages] == [1, 3, 1, 2]
    assert recipe.overrides == {"stages.2-1.num_epochs": 3, "batch_size": 8, "seed": 4}


def test_a_setting_in_two_places_is_refused() -> None:
    settings = TrainSettings(seed=4, overrides={"seed": 3})
    with pytest.raises(LogLLMError, match="seed is given twice: in --set, and as an option"):
        settings.find_recipe()


def test_further_seeds_change_the_seed_and_nothing_else() -> None:
    first, second, third = TrainSettings(num_seeds=3, overrides={"beta": 0.2}).find_recipes()
    assert [recipe.seed for recipe in (first, second, third)] == [0, 1, 2]
    assert first.overrides == {"beta": 0.2}
    assert third.overrides == {"beta": 0.2, "seed": 2}
    assert first == third.model_copy(update={"seed": 0, "overrides": first.overrides})
    alone = TrainSettings(seed=2, overrides={"beta": 0.2}).find_recipes()
    assert alone == [third]
    given = TrainSettings(num_seeds=2, overrides={"seed": 7}).find_recipes()
    assert [recipe.seed for recipe in given] == [7, 8]


def test_no_seed_at_all_is_refused() -> None:
    with pytest.raises(LogLLMError, match=r"num_seeds: .* found 0"):
        TrainSettings.parse({"num_seeds": 0}, origin="The command line")


def test_a_recipes_file_cannot_pretend_to_have_been_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "overrides = {seed = 5}\n[[stages]]\n"
        'name = "1"\ntrains = ["decoder"]\nnum_epochs = 1\nlearning_rate = 0.001\n'
    )
    with pytest.raises(LogLLMError, match=r"mine\.toml sets overrides"):
        TrainSettings(recipe=str(path)).find_recipe()


@pytest.mark.parametrize("value", ["9" * 5_000, "[" * 5_000, "\x00"])
def test_a_value_that_no_toml_reader_takes_is_a_plain_word(value: str) -> None:
    assert read_changes([f"beta={value}"]) == {"beta": value}


def test_changes_of_methods_and_of_the_recipe_are_told_apart() -> None:
    overrides = {"deeplog.num_epochs": 2, "stages.3.num_epochs": 3, "beta": 0.1}
    settings = CompareSettings(overrides=overrides, seed=4)
    assert settings.method_changes == {"deeplog.num_epochs": 2}
    recipe = settings.find_recipe()
    assert recipe.overrides == {"stages.3.num_epochs": 3, "beta": 0.1, "seed": 4}
    # What is trained is what `logllm train` trains.
    same = TrainSettings(overrides={"stages.3.num_epochs": 3, "beta": 0.1}, seed=4)
    assert recipe == same.find_recipe()


def test_a_setting_given_twice_is_refused_beside_those_of_methods() -> None:
    settings = CompareSettings(overrides={"seed": 1, "cnn.batch_size": 2}, seed=4)
    with pytest.raises(LogLLMError, match="seed is given twice"):
        settings.find_recipe()


def test_the_best_seed_is_refused_where_no_validation_split_can_choose_it() -> None:
    settings = TrainSettings(recipe="paper", num_seeds=3, keep="best")
    with pytest.raises(
        LogLLMError,
        match=r"The recipe paper has no validation split \(validation_fraction is 0\), and --keep "
        r"best chooses a seed by it\. Give --set validation_fraction=0\.1, or --keep first\.",
    ):
        settings.find_recipes()
    with_one = settings.model_copy(update={"overrides": {"validation_fraction": 0.1}})
    assert len(with_one.find_recipes()) == 3
    # Of one seed there is nothing to choose.
    alone = settings.model_copy(update={"num_seeds": 1})
    assert not alone.chooses_seed
    assert len(alone.find_recipes()) == 1


@pytest.mark.parametrize("kind", [CompareSettings, AblateSettings])
def test_no_seed_is_chosen_where_all_stand_side_by_side(kind: type[TrainSettings]) -> None:
    with pytest.raises(LogLLMError, match=r"keep: .*'first'.*found.*best"):
        kind.parse({"num_seeds": 3, "keep": "best"}, origin="The deployment")
