"""The scored splits as every detector judges them: the model, and the simple ones beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from logllm_core.errors import LogLLMError
from logllm_core.evaluation.measures.baselines import fit_baselines
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.evaluation.measures.training_bags import Evidence
from logllm_core.logs.windows.splits import SPLITS, Split
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.scoring.encoder_vectors import read_vectors
from logllm_core.store.store import Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A split's labels, and each detector's scores of its windows; the model comes first."""

    is_anomalous: Labels
    scores: Mapping[str, Scores]


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedSplits:
    """Both scored splits."""

    test: Judged
    validation: Judged | None  # None without windows for it
    not_applicable: Mapping[str, str]  # why some simple detectors cannot judge here


def read_splits(windows: Artifact) -> dict[Split, Windows]:
    """All splits of labelled windows.

    Raises:
        LogLLMError: they have no labels.
    """
    splits: dict[Split, Windows] = {split: read_windows(windows, split) for split in SPLITS}
    if any(split.is_anomalous is None for split in splits.values()):
        raise LogLLMError(
            f"{windows.dataset} is not labelled, so there is nothing to measure against. Give "
            "[labels] in the data set's file."
        )
    return splits


def judge_splits(
    windows: Mapping[Split, Windows],
    scores: Callable[[Split], Mapping[str, Scores]],
    *,
    alert_rates: Scores | None,
    vectors: Artifact | None,
) -> JudgedSplits:
    """Fit the simple detectors on the training windows, and let them judge what was scored.

    Args:
        windows: labelled.
        scores: of a split, by detector: what is there already.
        alert_rates: by message id; None where lines have no labels.
        vectors: the frozen encoder's; None where messages are too many.
    """
    baselines = fit_baselines(
        Evidence(
            train=windows["train"],
            alert_rates=alert_rates,
            vectors_ME=read_vectors(vectors) if vectors else None,
        )
    )

    def judged(split: Split) -> Judged:
        labels = windows[split].is_anomalous
        assert labels is not None, "without labels nothing is measured"
        of_split = dict(scores(split))
        of_split |= {name: score(windows[split]) for name, score in baselines.scorers.items()}
        assert all(len(of_detector) == len(labels) for of_detector in of_split.values())
        return Judged(is_anomalous=labels, scores=of_split)

    return JudgedSplits(
        validation=judged("validation") if len(windows["validation"]) else None,
        test=judged("test"),
        not_applicable=baselines.not_applicable,
    )
