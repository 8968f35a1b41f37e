"""What a model or a detector said of a split's windows, read back."""

from logllm_core import tables
from logllm_core.evaluation.measures.metrics import Labels, Scores
from logllm_core.logs.windows.splits import Split
from logllm_core.store.store import Artifact

# By the kind of the artifact: its table, and the column that holds the score.
COLUMNS = {
    "predictions": (tables.PREDICTIONS, "probability"),
    "detectors": (tables.SCORES, "score"),
}


def read_scores(artifact: Artifact, split: Split) -> Scores:
    """The scores of a split's windows, in log order."""
    schema, column = COLUMNS[artifact.kind]
    table = tables.read(artifact.path / f"split={split}", schema, [column])
    scores: Scores = table[column].to_numpy()
    return scores


def read_labels(predictions: Artifact, split: Split) -> Labels:
    """The labels of the same windows, as they were when these were judged."""
    columns = ["is_anomalous"]
    table = tables.read(predictions.path / f"split={split}", tables.PREDICTIONS, columns)
    labels: Labels = table["is_anomalous"].to_numpy().astype(bool)
    return labels
