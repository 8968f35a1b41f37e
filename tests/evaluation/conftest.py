import pytest

from logllm_core.store.store import Artifact, Store
from tests.evaluation.sample_runs import run_of_seed_0, run_of_seed_1


@pytest.fixture
def one(store: Store) -> Artifact:
    return run_of_seed_0(store)


@pytest.fixture
def other(store: Store) -> Artifact:
    return run_of_seed_1(store)
