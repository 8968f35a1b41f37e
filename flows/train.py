"""The flow `train-logllm`: from a raw log to a report."""

from loguru import logger
from prefect import flow

from flows.flow_pipeline import report_on
from flows.settings import TrainSettings
from logllm_core.daily.champion.decisions import promote_first
from logllm_core.store.store import Artifact
from tasks import step_tasks

DEFAULTS = TrainSettings()


@flow(name="train-logllm", flow_run_name="train-{dataset}")
def train_logllm(dataset: str, settings: TrainSettings = DEFAULTS) -> Artifact:
    """Prepare the data set, train stage after stage, evaluate on the test split.

    What exists is reused, so the same call again goes on where the last one stopped. The first
    model of a data set becomes its champion; a later one does not replace it unasked.
    """
    run = report_on(dataset, settings, may_train=True)
    champion = step_tasks.run(promote_first, settings.store, run)
    if champion.run != run.fingerprint:
        logger.info(
            "{}: run {} stays the champion. To have this model judge new logs: logllm models "
            "promote {}",
            *(run.dataset, champion.run, run.fingerprint),
        )
    return run
