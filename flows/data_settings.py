"""Where data sets, artifacts and champions are, and how a raw log is obtained and read."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from logllm_core.config import Settings
from logllm_core.logs.catalog.catalog import Dataset, catalog_dirs, find_dataset
from logllm_core.store.data_folder import DATA_DIR, checked_data_dir
from logllm_core.store.store import Store

MIRROR_VARIABLE = "LOGLLM_MIRROR"
RunnerName = Literal["threads", "processes", "ray"]


class DataSettings(Settings):
    """Where data sets, artifacts and champions are."""

    data_dir: Path = Field(default=DATA_DIR, description="Where everything is kept.")
    remote: str | None = Field(
        default=None,
        description="Share finished artifacts here: s3://bucket/path, file:///...",
    )

    @field_validator("data_dir")
    @classmethod
    def _data_dir_is_a_folder(cls, data_dir: Path) -> Path:
        return checked_data_dir(data_dir)

    @property
    def store(self) -> Store:
        return Store(data_dir=self.data_dir, remote=self.remote)

    @property
    def catalog_dirs(self) -> list[Path]:
        return catalog_dirs(self.data_dir)

    def find_dataset(self, name: str) -> Dataset:
        return find_dataset(name, self.catalog_dirs)

    def check(self, name: str) -> None:
        """Tell what is wrong with a run on the data set `name`, as far as nothing need be read.

        Raises:
            LogLLMError: something is.
        """
        self.find_dataset(name)


class PrepareSettings(DataSettings):
    """How a raw log is obtained and read."""

    mirror: Path | None = Field(  # default: the environment variable LOGLLM_MIRROR
        default=None, description="Take archives from this folder, not from the network."
    )
    runner: RunnerName = Field(
        default="threads",
        description="Reads many files side by side: threads, processes, ray.",
    )
    num_shards: int | None = Field(
        default=None, ge=1, description="How many shares of the files. Default: one a core."
    )

    @property
    def archive_mirror(self) -> Path | None:
        named = os.environ.get(MIRROR_VARIABLE)
        return self.mirror or (Path(named) if named else None)
