"""The flow `prepare-logs`: from a raw log to labelled windows."""

from prefect import flow

from flows.flow_pipeline import pipeline_of
from flows.run_log import log_to_prefect
from flows.settings import RunSettings
from logllm_core.pipeline import Prepared

DEFAULTS = RunSettings()


@flow(name="prepare-logs", flow_run_name="prepare-{dataset}")
def prepare_logs(dataset: str, settings: RunSettings = DEFAULTS) -> Prepared:
    """Obtain, parse and mask a log, cut it into windows and splits, and make them queryable."""
    log_to_prefect()
    return pipeline_of(settings).prepare(settings.find_dataset(dataset), settings.find_recipe())
