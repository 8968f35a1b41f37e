"""A store of what is finished: it tells whether there is anything left to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from logllm_core.store.store import Artifact, Json, Kind, Store


class UnfinishedError(Exception):
    """Something is still to be built."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedStore(Store):
    """It builds nothing."""

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
        """The artifact that is there, or could be fetched.

        Raises:
            UnfinishedError: there is none.
        """
        artifact = self.find(kind, dataset, config=config, inputs=inputs, version=version)
        if artifact is None:
            raise UnfinishedError
        return artifact
