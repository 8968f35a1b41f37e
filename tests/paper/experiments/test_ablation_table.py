from collections.abc import Sequence

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import CountWindows, SessionWindows
from logllm_core.paper.experiments.ablation_table import (
    GROUPS,
    NOT_ASKED,
    RECIPE,
    Plan,
    Setup,
    Trial,
    plan,
)
from logllm_core.training.recipes import recipe_named
from tests.paper.experiments.setups import dataset_of, setup_of


def planned(setup: Setup, *, sizes: Sequence[str] = (), only: Sequence[str] = ()) -> Plan:
    return plan(setup, sizes=sizes, num_seeds=3, only=only)


def trials_of(found: Plan, group: str) -> dict[str, Trial]:
    return {t.variant.name: t for t in found.trials if t.variant.group == group}


def setup_named(found: Plan, name: str) -> Setup:
    place = next(trial.setup for trial in found.trials if trial.variant.name == name)
    assert place is not None
    return found.setups[place]


def test_the_recipe_itself_stands_in_every_group_and_is_run_once() -> None:
    own = setup_of("paper", backbones="llama3-8b")
    found = planned(own)
    assert found.setups[0] is own
    at_home = [trial.variant.name for trial in found.trials if trial.setup == 0]
    assert at_home == [
        *("recipe", "regex", "embedder:llama3-8b", "all-stages", "beta-0.3", "length-100"),
        "seed-0",
    ]
    assert found.name(0) == "recipe"
    # 3 other preprocessings, the joined text, 4 without stages, 8 betas, 3 lengths, 2 seeds.
    assert len(found.setups) == 1 + 3 + 1 + 4 + 8 + 3 + 2
    assert {trial.variant.group for trial in found.trials} == GROUPS.keys()


def test_a_variant_is_one_difference_from_the_recipe() -> None:
    found = planned(setup_of("paper"))
    changes = {
        name: setup_named(found, name).recipe.overrides
        for name in ("raw", "template", "template-id", "text:small", "without-1-2", "beta-0")
    }
    assert changes == {
        "raw": {"masking": "none"},
        "template": {"masking": "drain-template"},
        "template-id": {"masking": "drain-id", "embedder": "message-id"},
        "text:small": {"embedder": "none"},
        "without-1-2": {"stages.1.num_epochs": 0, "stages.2.num_epochs": 0},
        "beta-0": {"beta": 0.0},
    }
    assert [s.name for s in setup_named(found, "without-1-2").recipe.trained_stages] == ["3"]
    assert setup_named(found, "seed-2").recipe.seed == 2


def test_stage_2_of_the_reference_recipe_is_both_of_its_steps() -> None:
    recipe = setup_named(planned(setup_of("reference")), "without-2").recipe
    assert [stage.name for stage in recipe.trained_stages] == ["1", "3"]


def test_windows_of_another_length_are_read_whole_and_called_by_it() -> None:
    found = planned(setup_of("paper"))
    longest = setup_named(found, "length-200")
    assert longest.dataset.windows == CountWindows(kind="count", length=200)
    assert longest.recipe.overrides == {"max_window_messages": 200}
    assert longest.dataset.title == "A log (windows of 200 lines)"
    assert setup_named(found, "length-20").recipe.overrides == {}


def test_windows_of_another_length_overlap_as_the_data_set_s_own_do() -> None:
    found = planned(setup_of("paper", windows=CountWindows(kind="count", length=100, step=30)))
    steps = {
        length: setup_named(found, f"length-{length}").dataset.windows for length in (20, 50, 200)
    }
    assert steps == {
        20: CountWindows(kind="count", length=20, step=6),
        50: CountWindows(kind="count", length=50, step=15),
        200: CountWindows(kind="count", length=200, step=60),
    }
    assert [t.setup for t in found.trials if t.variant.name == "length-100"] == [0]


@pytest.mark.parametrize(
    ("variant", "setup", "why_not"),
    [
        ("length-50", setup_of("paper", windows=SessionWindows(kind="session")), "are sessions"),
        (
            "without-1",
            setup_of("paper", changes={"stages.1.num_epochs": 0}),
            "not applicable, the recipe has no stage 1",
        ),
        (
            "without-1-2",  # the joined text has no embedder to train
            setup_of("paper", changes={"embedder": "none", "stages.3.num_epochs": 0}),
            "no stage 2",
        ),
        (
            "without-3",
            setup_of("paper", changes={"stages.1.num_epochs": 0, "stages.2.num_epochs": 0}),
            "no stage is left to train",
        ),
        ("embedder:llama3-8b", setup_of("paper"), "not asked for (--size llama3-8b)"),
    ],
)
def test_what_cannot_be_run_says_why(variant: str, setup: Setup, why_not: str) -> None:
    (trial,) = (t for t in planned(setup).trials if t.variant.name == variant)
    assert trial.setup is None
    assert why_not in trial.why_not


def test_only_what_was_named_is_run_and_what_is_the_recipe_itself() -> None:
    found = planned(setup_of("paper"), only=("beta-0.5", "stages"))
    names = [found.name(place) for place in range(len(found.setups))]
    assert names == [RECIPE, "without-1", "without-2", "without-1-2", "without-3", "beta-0.5"]
    betas = trials_of(found, "beta")
    assert betas["beta-0.4"].why_not == NOT_ASKED
    assert betas["beta-0.3"].setup == 0


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(LogLLMError, match=r"no group gamma, beta\..*Groups: .*without-1-2"):
        planned(setup_of("paper"), only=("gamma", "beta.", "stages"))


def test_sizes_are_rows_of_table_v_each_as_text_and_with_embedder() -> None:
    own = setup_of("paper", backbones="llama3-8b")
    rows = trials_of(planned(own, sizes=("llama3.2-1b", "a,b")), "embedder")
    printed = {name: (trial.variant.printed, trial.setup is None) for name, trial in rows.items()}
    assert printed == {
        "text:llama3-8b": ("L.-8B", False),
        "embedder:llama3-8b": ("Emb. & L.-8B", False),
        "text:llama3.2-1b": ("L.-1B", False),
        "embedder:llama3.2-1b": ("Emb. & L.-1B", False),
        "text:a,b": (None, False),
        "embedder:a,b": (None, False),
    }


def test_a_log_that_the_paper_does_not_have_has_no_rows_for_the_papers_backbones() -> None:
    own = Setup(dataset=dataset_of("mine"), recipe=recipe_named("quick"), backbones="small")
    assert [*trials_of(planned(own), "embedder")] == ["text:small", "embedder:small"]


@pytest.mark.parametrize("dataset", ["hdfs", "bgl", "liberty", "thunderbird"])
def test_the_rows_are_called_as_the_paper_prints_them(dataset: str) -> None:
    own = Setup(dataset=dataset_of(dataset), recipe=recipe_named("paper"), backbones="llama3-8b")
    for trial in planned(own, sizes=("llama3.2-1b",)).trials:
        printed = trial.variant.printed
        assert printed is None or printed in GROUPS[trial.variant.group].published[dataset]
    for name, group in GROUPS.items():
        shown = {t.variant.printed for t in planned(own).trials if t.variant.group == name}
        assert shown >= {*group.published.get(dataset, {})}


def test_setups_differ_by_windows_settings_or_backbones() -> None:
    one = setup_of("paper")
    as_it_is = Setup(
        dataset=one.dataset, recipe=one.recipe.overridden({"beta": 0.3}), backbones=one.backbones
    )
    assert one.is_like(as_it_is)  # what was changed makes no difference
    assert not one.is_like(setup_of("paper", changes={"beta": 0.4}))
    assert not one.is_like(setup_of("paper", backbones="llama3-8b"))
    assert not one.is_like(setup_of("paper", windows=CountWindows(kind="count", length=50)))
