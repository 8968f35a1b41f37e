"""Who takes part in a comparison, by which settings, and what came of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError
from logllm_core.paper.building_blocks.interface import LabelsUsed, Method, Reads
from logllm_core.paper.detectors.all_methods import METHODS
from logllm_core.results import MODEL
from logllm_core.store.store import Artifact, Json
from logllm_core.training.recipes import Recipe

LOGLLM = "logllm"  # its name beside those of the methods
LOGLLM_PAPER = (
    "Guan, Cao, Qian, Gao, Ouyang: LogLLM: Log-based Anomaly Detection Using Large Language "
    "Models. arXiv 2411.08561, 2024"
)
LOGLLM_RULE = "A window is an alarm if the answer anomalous is the likelier one."
NOT_ASKED = "It was not asked for."


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A method of the table as a run wants it."""

    method: Method
    settings: Settings  # of the method's own class
    changes: Mapping[str, Json]  # what differs from the table
    is_wanted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A method of the paper's Table II, LogLLM among them, and what came of it here."""

    name: str
    title: str
    paper: str
    reads: Reads
    labels: LabelsUsed
    differs: Sequence[str]
    rule: str
    settings: Mapping[str, Json]
    changes: Mapping[str, Json]
    # Its scores of the windows by seed, the one that figures are told of first: artifacts of the
    # kind "detectors", or LogLLM's predictions.
    scores: Mapping[int, Artifact] = field(default_factory=dict)
    stages: Sequence[Artifact] = ()  # LogLLM's, of the first seed
    not_run: str | None = None  # why there are no scores

    @property
    def config(self) -> dict[str, Json]:
        """What tells its part of a comparison from another."""
        return {
            "name": self.name,
            "settings": self.settings,
            "changes": self.changes,
            "seeds": list(self.scores),
            "not_run": self.not_run,
        }

    @classmethod
    def of_method(
        cls, entry: Entry, scores: Mapping[int, Artifact], not_run: str | None
    ) -> "Contender":
        method = entry.method
        return cls(
            name=method.name,
            title=method.title,
            paper=method.paper,
            reads=method.reads,
            labels=method.labels,
            differs=tuple(method.differs),
            rule=method.rule,
            settings=entry.settings.model_dump(mode="json"),
            changes=entry.changes,
            scores=scores,
            not_run=not_run,
        )

    @classmethod
    def of_logllm(
        cls,
        recipe: Recipe,
        scores: Mapping[int, Artifact],
        stages: Sequence[Artifact],
        not_run: str | None,
    ) -> "Contender":
        """LogLLM as the recipe of the first seed trains it."""
        settings = recipe.model_dump(mode="json")
        return cls(
            name=LOGLLM,
            title=MODEL,
            paper=LOGLLM_PAPER,
            reads="messages",
            labels="all windows",
            differs=(),
            rule=LOGLLM_RULE,
            changes=settings.pop("overrides"),
            settings=settings,
            scores=scores,
            stages=tuple(stages),
            not_run=not_run,
        )


def wants_logllm(only: Sequence[str]) -> bool:
    return not only or LOGLLM in only


def choose(only: Sequence[str], changes: Mapping[str, Json]) -> list[Entry]:
    """Every method of the table, with its settings as changed, and whether it is wanted.

    Args:
        only: names of the wanted ones, LogLLM's among them; none for all.
        changes: by method and setting, such as `deeplog.num_epochs`.

    Raises:
        LogLLMError: there is no such method or setting, or a value that it cannot have.
    """
    known = (*METHODS, LOGLLM)
    if unknown := [name for name in only if name not in known]:
        raise LogLLMError(
            f"There is no method {', '.join(unknown)}. Known: {', '.join(known)}. Choose some with "
            "--only, or leave it out for all."
        )
    for key in changes:
        if key.partition(".")[0] not in METHODS:
            raise LogLLMError(
                f"{key} is no setting of a method. Write METHOD.SETTING, such as "
                f"deeplog.num_epochs; the methods are {', '.join(METHODS)}."
            )
    return [
        _entry(
            method,
            {
                key.removeprefix(f"{name}."): value
                for key, value in changes.items()
                if key.startswith(f"{name}.")
            },
            is_wanted=not only or name in only,
        )
        for name, method in METHODS.items()
    ]


def _entry(method: Method, changes: Mapping[str, Json], *, is_wanted: bool) -> Entry:
    kind = type(method.settings)
    if unknown := [name for name in changes if name not in kind.model_fields]:
        raise LogLLMError(
            f"{method.title} has no setting {', '.join(unknown)}. Known: "
            f"{', '.join(kind.model_fields)}."
        )
    settings = kind.parse(
        {**method.settings.model_dump(), **changes},
        origin=f"{method.title} with these changes",
    )
    return Entry(method=method, settings=settings, changes=changes, is_wanted=is_wanted)
