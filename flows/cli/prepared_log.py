"""A log that is prepared already, found without a flow: Prefect takes longer than all the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from loguru import logger

from flows.settings import RunSettings
from logllm_core.pipeline import Pipeline, Prepared
from logllm_core.store.store import Artifact, Json, Kind, Store


class UnfinishedError(Exception):
    """Something is still to be built."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedStore(Store):
    """A store of what is there; it builds nothing."""

    def reuse_or_build(
        self,
        kind: Kind,
        dataset: str,
        *,
        config: Mapping[str, Json],
        inputs: Mapping[str, Artifact],
        version: int,
        build: Callable[[Path], Mapping[str, Json]],
    ) -> Artifact:
        """The artifact that is there.

        Raises:
            UnfinishedError: there is none.
        """
        artifact = self.find(kind, dataset, config=config, inputs=inputs, version=version)
        if artifact is None:
            raise UnfinishedError
        return artifact


def find_prepared(name: str, settings: RunSettings) -> Prepared | None:
    """What `prepare-logs` would find; None where it has something to do."""
    pipeline = Pipeline(
        store=FinishedStore(data_dir=settings.data_dir, remote=settings.remote),
        mirror=settings.archive_mirror,
        read_files=_read_nothing,
    )
    dataset = settings.find_dataset(name)
    logger.disable("logllm_core")  # where there is something to do, the flow says the same again
    try:
        prepared = pipeline.prepare(dataset, settings.find_recipe())
    except UnfinishedError:
        return None
    finally:
        logger.enable("logllm_core")
    logger.info("{}: all of it is there already", dataset.name)
    return prepared


def _read_nothing(*_: object) -> NoReturn:
    raise UnfinishedError
