"""The flow `detect-anomalies`: new logs, judged by the current model."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from loguru import logger
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.run_log import log_to_prefect
from flows.settings import DetectSettings
from logllm_core.daily.champion.decisions import find_champion
from logllm_core.daily.champion.drift import drift_of
from logllm_core.daily.champion.scored_windows import judged_since
from logllm_core.daily.detect.detect import detect
from logllm_core.daily.detect.detect_result import Detected, UnjudgedError
from logllm_core.daily.detect.find_logs import find_logs
from logllm_core.pages.renewed_pages import renew
from tasks import shown_in_prefect, step_tasks

DEFAULTS = DetectSettings()
DRIFT_PERIOD = timedelta(days=1)  # also other calls judge: those that follow a log


@flow(name="detect-anomalies", flow_run_name="detect-{dataset}")
def detect_anomalies(
    dataset: str, files: list[str], settings: DetectSettings = DEFAULTS
) -> State[Detected]:
    """Judge what is new in these logs and folders, renew views and page, and measure drift.

    Ends at once, and says so, where there is no model yet, or none of the files.

    Raises:
        UnjudgedError: some of the logs could not be judged, once all is done for the others.
    """
    log_to_prefect()
    described = settings.find_dataset(dataset)
    store = settings.store
    if find_champion(store, described.name) is None:
        return _ended(f"{described.name} has no model yet; nothing was judged.", Detected())
    present = [path for path in files if Path(path).exists()]
    if not find_logs(present).paths:
        return _ended(f"There is no log in {', '.join(files)}; nothing was judged.", Detected())
    fault = None
    try:
        detected = step_tasks.run(
            detect, store, described, present, publish=lambda: renew(store, described.name)
        )
    except UnjudgedError as unjudged:  # the other logs are judged, and may have drifted
        fault, detected = unjudged, unjudged.detected
    # A successor may have been promoted meanwhile; drift is the successor's then.
    if champion := find_champion(store, described.name):
        since = datetime.now(UTC) - DRIFT_PERIOD
        new = judged_since(store, described.name, champion, since)
        measured = step_tasks.run(drift_of, store, described.name, champion, new, settings.drift)
        if measured:
            shown_in_prefect.publish_drift(measured)
    if fault:
        raise fault
    return _ended(detected.sentence, detected)


def _ended(sentence: str, detected: Detected) -> State[Detected]:
    logger.info("{}", sentence)
    return Completed(message=sentence, data=detected)
