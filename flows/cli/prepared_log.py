"""A log that is prepared already, found without a flow: Prefect takes longer than all the rest."""

from typing import NoReturn

from loguru import logger

from flows.settings import RunSettings
from logllm_core.pipeline import Pipeline, Prepared
from logllm_core.store.finished_store import FinishedStore, UnfinishedError


def find_prepared(name: str, settings: RunSettings) -> Prepared | None:
    """What `prepare-logs` would find; None where it has something to do."""
    pipeline = Pipeline(
        store=FinishedStore(data_dir=settings.data_dir, remote=settings.remote),
        mirror=settings.archive_mirror,
        read_files=_read_nothing,
    )
    dataset = settings.find_dataset(name)
    try:
        prepared = pipeline.prepare(dataset, settings.find_recipe())
    except UnfinishedError:
        return None
    logger.info("{}: all of it is there already", dataset.name)
    return prepared


def _read_nothing(*_: object) -> NoReturn:
    raise UnfinishedError
