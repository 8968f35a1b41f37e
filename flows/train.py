"""The flow `train-logllm`: from a raw log to a report."""

from prefect import flow

from flows.settings import TrainSettings
from flows.steps import report_on
from logllm_core.store import Artifact

DEFAULTS = TrainSettings()


@flow(name="train-logllm", flow_run_name="train-{dataset}")
def train_logllm(dataset: str, settings: TrainSettings = DEFAULTS) -> Artifact:
    """Prepare the data set, train stage after stage, evaluate on the test split.

    What exists is reused, so the same call again goes on where the last one stopped.
    """
    return report_on(dataset, settings, may_train=True)
