"""The flow `evaluate-logllm`: what a trained model is worth on the test split."""

from prefect import flow

from flows.flow_pipeline import report_on
from flows.settings import TrainSettings
from logllm_core.store.store import Artifact

DEFAULTS = TrainSettings()


@flow(name="evaluate-logllm", flow_run_name="evaluate-{dataset}")
def evaluate_logllm(dataset: str, settings: TrainSettings = DEFAULTS) -> Artifact:
    """Score the test split with the model that these settings trained, and report.

    Nothing is trained here: a model that is not there is an error.
    """
    return report_on(dataset, settings, may_train=False)
