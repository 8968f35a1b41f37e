"""What the stages of a training and the scoring did and took, as their manifests tell."""

from pydantic import TypeAdapter

from logllm_core.results.training import ScoringFigures, StageFigures
from logllm_core.store.store import Artifact

_STAGE, _SCORING = TypeAdapter(StageFigures), TypeAdapter(ScoringFigures)


def stage_figures(stage: Artifact) -> StageFigures:
    manifest = stage.manifest
    asked, results = manifest["config"]["stage"], manifest["results"]
    speed = _a_second(results["num_samples"], results["training_seconds"])
    return _STAGE.validate_python(
        {key: asked[key] for key in ("name", "trains", "learning_rate")}
        | {"artifact": stage.fingerprint, **results, "windows_a_second": speed}
    )


def scoring_figures(predictions: Artifact) -> ScoringFigures:
    """Of the test split; seconds and memory are those of both scored splits together."""
    results = predictions.results
    num_windows = sum(results[split]["num_windows"] for split in ("validation", "test"))
    speed = _a_second(num_windows, results["scoring_seconds"])
    return _SCORING.validate_python(results | results["test"] | {"windows_a_second": speed})


def _a_second(num_windows: int, seconds: float) -> float | None:
    return num_windows / seconds if seconds else None
