"""What a person changes in a recipe, from the command line to the recipe that runs."""

from pathlib import Path

import pytest

from flows.settings import TrainSettings
from flows.showing import read_changes
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


def test_a_recipes_file_cannot_pretend_to_have_been_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "overrides = {seed = 5}\n[[stages]]\n"
        'name = "1"\ntrains = ["decoder"]\nnum_epochs = 1\nlearning_rate = 0.001\n'
    )
    with pytest.raises(LogLLMError, match=r"mine\.toml sets overrides"):
        TrainSettings(recipe=str(path)).find_recipe()
