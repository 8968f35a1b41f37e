"""Whether a model learned enough: by its last loss, and beside simple detectors on validation."""

import numpy as np
import pytest

from logllm_core.evaluation.judged_splits import Judged
from logllm_core.evaluation.training_check import judge_training, prior_loss
from logllm_core.results.training import Learned
from logllm_core.training.recipes import recipe_named

QUICK, PAPER = recipe_named("quick"), recipe_named("paper")
TREE = "decision tree on message counts"
RARE = np.arange(100) % 10 == 0  # 10 of 100 are anomalous
# Answering by the shares of a pool of which 30 % are anomalous: .3 ln(1/.3) + .7 ln(1/.7) nats for
# the token that decides, none for the five others.
PRIOR = 0.6108643 / 6


def validation(model: list[float], tree: list[float], labels: list[bool] | None = None) -> Judged:
    return Judged(
        is_anomalous=RARE if labels is None else np.array(labels),
        scores={
            "LogLLM": np.array(model),
            "always anomalous": np.ones(len(model)),
            TREE: np.array(tree),
        },
    )


RIGHT = [float(label) for label in RARE]
BLIND = [0.3] * 100  # ranks nothing: PR-AUC .1


def learned(last_loss: float, judged: Judged | None, share: float = 0.1) -> Learned:
    return judge_training(last_loss, share, QUICK if judged else PAPER, judged)


def test_answering_by_the_shares_of_the_balanced_pool_costs_the_token_that_decides() -> None:
    assert prior_loss(0.1, beta=0.3) == pytest.approx(PRIOR)  # oversampled to 30 %
    assert prior_loss(0.9, beta=0.3) == pytest.approx(PRIOR)  # normal windows are the rarer ones
    assert prior_loss(0.1, beta=0.7) == pytest.approx(PRIOR)  # made the more frequent ones
    assert prior_loss(0.5, beta=0.3) == pytest.approx(np.log(2) / 6)  # left as it is


def test_a_model_whose_loss_ends_low_and_that_is_level_learned_enough() -> None:
    found = learned(0.02, validation(RIGHT, RIGHT))
    assert not found.is_too_little
    assert found.shortfall is None
    assert found.warning is None
    assert (found.pr_auc, found.rival, found.rival_pr_auc) == (1, TREE, 1)


def test_half_of_what_the_shares_alone_cost_is_the_limit_of_the_loss() -> None:
    assert not learned(PRIOR / 2 - 0.001, None).is_too_little
    found = learned(PRIOR / 2 + 0.001, None)
    assert found.is_too_little
    assert found.shortfall == (
        "learned too little: its loss ended at 0.052, where answering by the classes' shares "
        "alone costs 0.102"
    )


def test_all_reasons_are_told_with_what_to_do() -> None:
    found = learned(0.093, validation(BLIND, RIGHT))
    assert found.warning == (
        "This model learned too little: its loss ended at 0.093, where answering by the classes' "
        "shares alone costs 0.102, and on the validation split (PR-AUC 0.100) it is behind "
        f"{TREE} (1.000) by more than chance explains. Train longer (--set stages.3.num_epochs=2) "
        "or with another seed (--seed 1, or --seeds 3 --keep best)."
    )


def test_without_a_validation_split_no_seed_can_be_chosen_by_it() -> None:
    found = learned(0.093, None)
    assert (found.pr_auc, found.rival) == (None, None)
    assert found.advice == (
        "Train longer (--set stages.3.num_epochs=4) or with another seed (--seed 1)."
    )


def test_a_low_loss_beside_a_clear_defeat_asks_for_another_seed_and_not_for_more_steps() -> None:
    found = learned(0.01, validation(BLIND, RIGHT))
    assert found.is_too_little
    assert found.shortfall == (
        "learned too little: on the validation split (PR-AUC 0.100) it is behind "
        f"{TREE} (1.000) by more than chance explains"
    )
    assert found.advice == "Train with another seed (--seed 1, or --seeds 3 --keep best)."


def test_a_defeat_on_few_anomalous_windows_is_no_shortfall() -> None:
    labels = [place == 50 for place in range(100)]
    tree = [float(label) for label in labels]
    # All resamples that hold the one window say the same, so the interval has no width.
    assert not learned(0.01, validation(BLIND, tree, labels)).is_too_little


def test_a_defeat_that_chance_may_explain_is_no_shortfall() -> None:
    # One of ten anomalous windows stands last: average precision .9 + .1 * 10 / 100, .09 less.
    # Two of them: .8 + (9 / 99 + 10 / 100) / 10; .181 less, but resamples may hold neither.
    for num_missed, pr_auc in ((1, 0.91), (2, 0.8 + (9 / 99 + 10 / 100) / 10)):
        scores = RIGHT.copy()
        for place in range(num_missed):
            scores[10 * place] = -1.0 - place
        found = learned(0.01, validation(scores, RIGHT))
        assert found.pr_auc == pytest.approx(pr_auc)
        assert not found.is_too_little


def test_a_clear_defeat_by_little_is_no_shortfall() -> None:
    """On long logs a tree is better by a hair beyond any chance, and the model is good."""
    labels = [place % 10 == 0 for place in range(10_000)]
    tree = [float(label) for label in labels]
    model = [0.5 if place % 200 == 5 else float(label) for place, label in enumerate(labels)]
    for place in range(0, 10_000, 100):
        model[place] = 0.4  # a tenth of the anomalous windows stands behind 50 normal ones
    found = learned(0.01, validation(model, tree, labels))
    assert found.pr_auc is not None
    assert 0.9 < found.pr_auc < 1
    assert not found.is_too_little


def test_a_loss_below_that_of_the_shares_is_excused_where_no_detector_ranks_better() -> None:
    assert not learned(0.09, validation(RIGHT, RIGHT)).is_too_little
    assert learned(0.09, validation([*RIGHT[:-1], 1.0], RIGHT)).is_too_little
    # One that loses more than the shares alone is excused by nothing.
    assert learned(0.11, validation(RIGHT, RIGHT)).is_too_little


def test_with_a_very_rare_class_the_last_steps_tell_nothing() -> None:
    bare = PAPER.overridden({"beta": 0.0})
    # 1 % of the pool: ten steps of 16 windows hold one or two anomalous ones, or none.
    assert not judge_training(0.1, 0.01, bare, None).is_too_little
    assert judge_training(0.1, 0.2, bare, None).is_too_little


def test_no_seed_is_advised_that_was_tried_and_no_choice_that_was_made() -> None:
    found = [
        judge_training(0.2, 0.1, QUICK, None, other_seeds=(1, 2, 3), is_chosen=is_chosen).advice
        for is_chosen in (False, True)
    ]
    longer = "Train longer (--set stages.3.num_epochs=2) or with another seed"
    assert found == [f"{longer} (--seed 4, or --seeds 4 --keep best).", f"{longer} (--seed 4)."]
