"""Whether a training taught the model anything: what a run itself can tell, without test labels.

With few steps or an unlucky seed a model may answer by the classes' shares alone, or little better.
Two witnesses say so: the loss that the last stage ended at, and the validation split, where simple
detectors stand beside the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from logllm_core.evaluation.judged_splits import Judged
from logllm_core.evaluation.measures.intervals import difference
from logllm_core.evaluation.measures.metrics import rank
from logllm_core.pages.figures_as_text import shown
from logllm_core.results import MODEL
from logllm_core.results.training import Learned
from logllm_core.training.recipes import Recipe

# "The sequence is normal.": five, and the end; of these the fourth decides. So many they are for
# the decoders at hand; a tokenizer that takes one more for "anomalous" moves the limit by a tenth.
NUM_ANSWER_TOKENS = 6
# Of what the classes' shares alone cost. The last ten steps of the recipe `quick` are 80 windows,
# so a model that knows nothing else ends within about 4 % of that cost (the shares .3 and .7 lose
# .61 nats a window, and the 80 hold them give or take two anomalous ones, .02 nats), and good
# trainings end below a fifth of it.
# Half is far from both.
MAX_LOSS_FRACTION = 0.5
# Of the rarer class in the pool: with less, the last steps hold so few of its windows that chance
# decides what they lose.
MIN_SHARE = 0.1
# So far behind the strongest simple detector on the validation split, and beyond the 95 % interval.
# Being the strongest of nine there is luck in part, and a tree that is better by a hair beyond any
# chance does not make a failure of a good model.
MIN_DEFEAT = 0.1
# Of fewer, the resamples hold the same handful again and again, and the interval is too narrow.
MIN_ANOMALOUS = 10


def judge_training(
    last_loss: float,
    anomalous_share: float,
    recipe: Recipe,
    validation: Judged | None,
    *,
    other_seeds: Sequence[int] = (),
    is_chosen: bool = False,
) -> Learned:
    """Decide whether a model learned too little.

    It did where its loss ended above half of what answering by the shares alone costs, unless it
    lost less than that and no simple detector ranks the validation windows better: then it was the
    labels or the last few windows. And it did where a simple detector ranks them much better,
    beyond chance.

    Args:
        last_loss: `last_loss` of the last stage's results.
        anomalous_share: of the training windows, before the pool is balanced.
        validation: the split as the model and the simple detectors judge it; None without one.
        other_seeds: that the same was trained with, so that a further one can be advised.
        is_chosen: whether the validation split chose among all these.
    """
    beside = _BesideRival.of(validation)
    high_loss = _high_loss(last_loss, anomalous_share, recipe, beside)
    reasons = [reason for reason in (high_loss, beside.defeat) if reason]
    longer = _longer(recipe) if high_loss else ""
    seeds = _further_seeds(recipe, other_seeds, is_chosen=is_chosen)
    return Learned(
        is_too_little=bool(reasons),
        last_loss=last_loss,
        prior_loss=prior_loss(anomalous_share, beta=recipe.beta),
        pr_auc=beside.pr_auc,
        rival=beside.rival,
        rival_pr_auc=beside.rival_pr_auc,
        shortfall=f"learned too little: {', and '.join(reasons)}" if reasons else None,
        advice=f"Train {longer}with another seed ({seeds})." if reasons else None,
    )


def _high_loss(
    last_loss: float, anomalous_share: float, recipe: Recipe, beside: "_BesideRival"
) -> str | None:
    """What speaks against the loss; None where nothing does."""
    by_shares = prior_loss(anomalous_share, beta=recipe.beta)
    is_excused = last_loss < by_shares and beside.is_unbeaten
    is_rare = _rarer_share(anomalous_share, recipe.beta) < MIN_SHARE
    if last_loss <= MAX_LOSS_FRACTION * by_shares or is_excused or is_rare:
        return None
    return (
        f"its loss ended at {shown(last_loss)}, where answering by the classes' shares alone "
        f"costs {shown(by_shares)}"
    )


def prior_loss(anomalous_share: float, *, beta: float) -> float:
    """The token-mean cross entropy of answers by the shares of the balanced pool, in nats.

    Args:
        anomalous_share: of the training windows; the rarer class is repeated up to `beta`.
    """
    share = _rarer_share(anomalous_share, beta)
    entropy = -sum(part * log(part) for part in (share, 1 - share) if part)
    return entropy / NUM_ANSWER_TOKENS


def _rarer_share(anomalous_share: float, beta: float) -> float:
    share = max(min(anomalous_share, 1 - anomalous_share), beta)
    return min(share, 1 - share)


@dataclass(frozen=True, kw_only=True, slots=True)
class _BesideRival:
    """The model beside the strongest simple detector, by PR-AUC on the validation split."""

    pr_auc: float | None = None
    rival: str | None = None
    rival_pr_auc: float | None = None
    is_unbeaten: bool = False
    is_defeated: bool = False  # by much, and beyond chance

    @property
    def defeat(self) -> str | None:
        if not self.is_defeated:
            return None
        return (
            f"on the validation split (PR-AUC {shown(self.pr_auc)}) it is behind "
            f"{self.rival} ({shown(self.rival_pr_auc)}) by more than chance explains"
        )

    @classmethod
    def of(cls, validation: Judged | None) -> "_BesideRival":
        if validation is None:
            return cls()
        pr_aucs = {
            # Sums in another order differ beyond nine places, and are no victory.
            name: round(pr_auc, 9)
            for name, scores in validation.scores.items()
            if (pr_auc := rank(validation.is_anomalous, scores).pr_auc) is not None
        }
        if MODEL not in pr_aucs:
            return cls()
        pr_auc, rival = pr_aucs[MODEL], _strongest(pr_aucs)
        if rival is None:
            return cls(pr_auc=pr_auc)
        return cls(
            pr_auc=pr_auc,
            rival=rival,
            rival_pr_auc=pr_aucs[rival],
            is_unbeaten=pr_auc >= pr_aucs[rival],
            is_defeated=pr_aucs[rival] - pr_auc >= MIN_DEFEAT and _is_sure(validation, rival),
        )


def _strongest(pr_aucs: Mapping[str, float]) -> str | None:
    others = [name for name in pr_aucs if name != MODEL]
    return max(others, key=lambda name: pr_aucs[name], default=None)


def _is_sure(validation: Judged, rival: str) -> bool:
    """Whether the 95 % interval of the difference lies below 0 whole."""
    if validation.is_anomalous.sum() < MIN_ANOMALOUS:
        return False
    model, other = validation.scores[MODEL], validation.scores[rival]
    paired = difference(validation.is_anomalous, model, other, "pr_auc")
    return bool(paired and paired.interval and paired.interval.high < 0)


def _longer(recipe: Recipe) -> str:
    stage = recipe.trained_stages[-1]
    return f"longer (--set stages.{stage.name}.num_epochs={2 * stage.num_epochs}) or "


def _further_seeds(recipe: Recipe, others: Sequence[int], *, is_chosen: bool) -> str:
    """One that was not tried, or the best of several where the validation split has yet to say."""
    further = f"--seed {max([recipe.seed, *others]) + 1}"
    if recipe.validation_fraction and not is_chosen:
        further += f", or --seeds {max(len(others) + 1, 3)} --keep best"
    return further
