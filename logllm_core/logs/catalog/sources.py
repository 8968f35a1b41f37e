"""Where a log comes from: an archive that is published, files of the user's, the simulator."""

import re
from pathlib import PurePosixPath
from typing import Literal

import httpx
from pydantic import Field, field_validator

from logllm_core.config import Settings

# Of an archive: it becomes a file beside others of the store.
FILE_NAME = re.compile(r"(?!manifest\.json$)[A-Za-z0-9_][A-Za-z0-9_.+()@ -]{0,199}")


class Archive(Settings):
    """A published archive."""

    kind: Literal["archive"]
    url: str = Field(pattern=r"^https?://")
    size_bytes: int | None = None
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    log_member: str | None = None  # None: the (compressed) file itself is the log
    label_member: str | None = None  # the CSV file of session labels

    @property
    def file_name(self) -> str:
        return httpx.URL(self.url).path.rsplit("/", 1)[-1]

    @field_validator("log_member", "label_member")
    @classmethod
    def _member_stays_inside(cls, member: str | None) -> str | None:
        if member and (PurePosixPath(member).is_absolute() or ".." in PurePosixPath(member).parts):
            raise ValueError("a path inside the archive, without .. and not absolute, is wanted")
        return member

    @field_validator("url")
    @classmethod
    def _url_names_a_file(cls, url: str) -> str:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as fault:
            raise ValueError(f"not an address: {fault}") from None
        if parsed.password:  # it would be written to manifests and reports
            raise ValueError("a password is in it; fetch the archive yourself, and use --mirror")
        name = parsed.path.rsplit("/", 1)[-1]
        if not name:
            raise ValueError("the address must end in the archive's name")
        if not FILE_NAME.fullmatch(name):  # %2e%2e is .., %00 a NUL; and it is told in terminals
            raise ValueError(f"no file can be named {name!r:.60}")
        return url


class LocalFile(Settings):
    """Log files of the user's own, plain or compressed (.gz, .zst, .bz2, .xz).

    `path` is a path, a glob, an fsspec address such as `s3://bucket/logs/*.gz`, or several;
    paths are relative to the data set's TOML file. Many files are one log, in order of their names.
    """

    kind: Literal["file"]
    path: str | tuple[str, ...]
    label_path: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path

    @field_validator("path")
    @classmethod
    def _something_is_named(cls, path: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not path or not all([path] if isinstance(path, str) else path):
            raise ValueError("a path is wanted")
        return path

    @field_validator("path", "label_path")
    @classmethod
    def _no_path_holds_a_nul(cls, path: str | tuple[str, ...] | None) -> object:
        if "\0" in "".join(path or ()):
            raise ValueError("no path holds a NUL")
        return path


class Simulator(Settings):
    """A seeded log that the project writes itself, see `logllm_core/logs/simulator`."""

    kind: Literal["simulator"]
    shape: Literal["bgl", "thunderbird", "hdfs"] = "bgl"
    num_lines: int = Field(ge=1_000, le=1_000_000_000)
    seed: int = 0
    unstable_from_fraction: float = Field(default=0.8, ge=0, le=1)  # of the lines
