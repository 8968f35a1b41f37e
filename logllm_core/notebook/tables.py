"""Tables as a notebook takes them: as Arrow, or as a data frame of pandas."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.splits import SPLITS
from logllm_core.store.store import Artifact


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is read when it is asked for."""

    name: str
    read: Callable[[], pa.Table]

    def __repr__(self) -> str:
        return f"Table({self.name}: .arrow() or .df())"

    def arrow(self) -> pa.Table:
        return self.read()

    def df(self) -> Any:  # pandas is no dependency, so its type is nobody's to name
        """As `pandas.DataFrame`.

        Raises:
            LogLLMError: pandas is not installed.
        """
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise LogLLMError(
                f"A data frame of {self.name} needs pandas, which is not installed. Install it "
                "(pip install pandas), or take the table as Arrow: .arrow()."
            ) from None
        return self.read().to_pandas()


def by_split(name: str, artifact: Artifact, schema: pa.Schema) -> Table:
    """All splits as one table, with a column that names each row's."""

    def read() -> pa.Table:
        parts = []
        for split in SPLITS:
            folder = artifact.path / f"split={split}"
            if folder.is_dir():
                part = tables.read(folder, schema)
                parts.append(part.append_column("split", pa.repeat(split, len(part))))
        return pa.concat_tables(parts)

    return Table(name, read)
