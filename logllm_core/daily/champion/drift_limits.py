"""How far new windows may move from those of the training before that is called drift."""

from pydantic import Field

from logllm_core.config import Settings


class DriftLimits(Settings):
    """What a change must pass to be called drift."""

    # A log's own messages: after a software update one line in twenty is new, in daily life few.
    max_unseen_fraction: float = Field(default=0.05, ge=0, le=1)
    # In windows of a hundred: ten more alarms, or ten less, than in the training period.
    max_rate_change: float = Field(default=0.1, ge=0, le=1)
    # A fifth of the windows has moved to another score, whatever the verdicts.
    max_ks: float = Field(default=0.2, ge=0, le=1)
