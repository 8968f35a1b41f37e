import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from loguru import logger

from flows.server.prefect_environment import PREFECT_ENVIRONMENT
from logllm_core.store.store import Store

# As `logllm` does, before anything imports Prefect: else it would be the first test that ran a
# command whose captured output Prefect writes to from then on.
os.environ.update(PREFECT_ENVIRONMENT)
NEEDS_SERVER = "prefect_server"  # the fixture
# How long a drawn case takes is the machine's affair, and it may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Prefect's server is of the tier `flows`, unless it is slow besides."""
    for item in items:
        needs = getattr(item, "fixturenames", ())
        if NEEDS_SERVER in needs and not item.get_closest_marker("slow"):
            item.add_marker("flows")


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else DuckDB's bindings tell at the end of all that they still hold


def pytest_collection_finish() -> None:
    """What was imported stays: to look at all of it is most of what `gc.collect()` would cost."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store of this test's own."""
    return Store(data_dir=tmp_path / "data")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of Loghub archives that the environment names."""
    folder = os.environ.get("LOGLLM_MIRROR")
    if not folder:
        pytest.skip("LOGLLM_MIRROR names no folder of Loghub archives")
    return Path(folder)


@pytest.fixture
def delivered() -> Iterator[list[int]]:
    """The signals that reach the handlers which were there before."""
    numbers: list[int] = []
    before = {
        number: signal.signal(number, lambda caught, _: numbers.append(caught))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    logger.remove()
    yield
    logger.remove()
    logger.add(sys.stderr)
