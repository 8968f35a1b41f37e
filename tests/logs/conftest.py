import os
from pathlib import Path

import pytest

from logllm_core.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(data_dir=tmp_path / "data")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of Loghub archives that the environment names."""
    folder = os.environ.get("LOGLLM_MIRROR")
    if not folder:
        pytest.skip("LOGLLM_MIRROR names no folder of Loghub archives")
    return Path(folder)
