"""What training and scoring came to: what they took, and whether anything was learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from logllm_core.results.data_card import Facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What came of a training."""

    is_too_little: bool
    last_loss: float  # token-mean cross entropy, mean of the last stage's last ten steps
    prior_loss: float  # the same of answers by the classes' shares alone
    pr_auc: float | None  # on the validation split; None without one, or with one class
    rival: str | None  # the simple detector with the highest PR-AUC there
    rival_pr_auc: float | None
    shortfall: str | None  # "learned too little: ...", for a sentence about the model
    advice: str | None  # what to do about it, in one sentence

    @property
    def warning(self) -> str | None:
        """Both as sentences; None where it learned enough."""
        return f"This model {self.shortfall}. {self.advice}" if self.is_too_little else None


@dataclass(frozen=True, kw_only=True, slots=True)
class BestValidation:
    """The step whose weights a stage kept."""

    step: int
    pr_auc: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a step held at once; of several processes, the first."""

    peak_memory_bytes: int
    peak_gpu_memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFigures(Cost):
    """A training stage: what it was asked for, what it did and what that took."""

    name: str
    trains: tuple[str, ...]
    learning_rate: float
    artifact: str
    num_steps: int
    num_samples: int
    num_trained_parameters: int
    num_parameters: int
    num_cut_messages: int
    num_cut_windows: int
    first_loss: float
    last_loss: float
    is_stopped_early: bool = False
    best_validation: BestValidation | None = None
    micro_batch_size: int | None = None
    num_processes: int = 1
    num_resumes: int = 0
    training_seconds: float
    dtype: str | None = None
    overrides: Facts = field(default_factory=dict)
    windows_a_second: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundingFigures:
    """How far other ways of computing moved log-odds."""

    log_odds: float
    num_windows: int  # that were compared
    by_way: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringFigures(Cost):
    """Counts of the test split; seconds and memory are those of both scored splits together."""

    num_windows: int
    num_distinct_windows: int
    num_long_windows: int | None = None
    num_windows_flagged_late: int | None = None
    num_cut_lines: int | None = None
    num_flagged_windows: int | None = None
    num_windows_within_rounding: int = 0
    num_localized_windows: int | None = None
    rounding: RoundingFigures | None = None
    scoring_seconds: float
    localization_seconds: float
    windows_a_second: float | None


def peaks(steps: Sequence[Cost]) -> Cost:
    """The most that any of them held."""
    return Cost(
        peak_memory_bytes=max(step.peak_memory_bytes for step in steps),
        peak_gpu_memory_bytes=max(step.peak_gpu_memory_bytes for step in steps),
    )
