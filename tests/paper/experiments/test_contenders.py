"""Who takes part, and by which settings."""

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.paper.detectors.all_methods import METHODS
from logllm_core.paper.experiments import paper_tables
from logllm_core.paper.experiments.contenders import Contender, choose, wants_logllm
from logllm_core.training.recipes import recipe_named


def test_all_nine_take_part_unless_some_are_named() -> None:
    assert len(METHODS) == 9
    assert all(entry.is_wanted for entry in choose([], {}))
    found = {entry.method.name for entry in choose(["cnn", "logllm"], {}) if entry.is_wanted}
    assert found == {"cnn"}
    assert wants_logllm([])
    assert wants_logllm(["cnn", "logllm"])
    assert not wants_logllm(["cnn"])


def test_the_titles_are_those_of_the_published_tables() -> None:
    titles = {method.title for method in METHODS.values()} | {"LogLLM"}
    assert paper_tables.DETECTION["bgl"].keys() == titles == paper_tables.MINUTES.keys()


def test_a_change_is_of_one_method_alone() -> None:
    entries = {entry.method.name: entry for entry in choose([], {"deeplog.num_epochs": 2})}
    assert entries["deeplog"].settings.model_dump()["num_epochs"] == 2
    assert entries["deeplog"].changes == {"num_epochs": 2}
    assert entries["cnn"].settings == METHODS["cnn"].settings
    assert entries["cnn"].changes == {}


@pytest.mark.parametrize(
    ("only", "changes", "found"),
    [
        (["cnn", "svm"], {}, "There is no method svm. Known: deeplog, "),
        ([], {"svm.num_epochs": 2}, "svm.num_epochs is no setting of a method"),
        ([], {"deeplog.epochs": 2}, "DeepLog has no setting epochs. Known: .*num_epochs"),
        ([], {"deeplog.num_epochs": 0}, "DeepLog with these changes has 1 fault"),
    ],
)
def test_what_cannot_be_is_told(only: list[str], changes: dict[str, int], found: str) -> None:
    with pytest.raises(LogLLMError, match=found):
        choose(only, changes)


def test_logllm_is_told_by_its_recipe() -> None:
    recipe = recipe_named("quick").overridden({"beta": 0.1})
    found = Contender.of_logllm(recipe, {}, (), "why not")
    assert (found.title, found.changes, found.not_run) == ("LogLLM", {"beta": 0.1}, "why not")
    assert found.settings["beta"] == 0.1
