from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from tests import tiny


@pytest.fixture(scope="session")
def backbones_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two-layer backbones on disk."""
    folder = tmp_path_factory.mktemp("backbones")
    tiny.save(folder)
    return folder


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is warned of in the log."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    yield lines
    logger.remove(sink)
