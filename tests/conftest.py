import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from flows.server.prefect_environment import PREFECT_ENVIRONMENT

# As `logllm` does, before anything imports Prefect: else it would be the first test that ran a
# command whose captured output Prefect writes to from then on.
os.environ.update(PREFECT_ENVIRONMENT)


@pytest.fixture
def mirror() -> Path:
    """The folder of sample archives that LOGLLM_MIRROR names."""
    named = os.environ.get("LOGLLM_MIRROR")
    if not named:
        pytest.skip("LOGLLM_MIRROR does not name a folder of sample archives")
    return Path(named)


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    logger.remove()
    yield
    logger.remove()
    logger.add(sys.stderr)
