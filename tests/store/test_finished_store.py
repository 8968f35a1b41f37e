from typing import Any

import pytest

from logllm_core.store.finished_store import FinishedStore, UnfinishedError
from logllm_core.store.store import Store


def test_what_is_there_is_found_and_nothing_is_built(store: Store) -> None:
    finished = FinishedStore(data_dir=store.data_dir)
    wanted: Any = {"config": {"length": 3}, "inputs": {}, "version": 1}
    with pytest.raises(UnfinishedError):
        finished.reuse_or_build("windows", "own", **wanted, build=lambda _: {})
    assert not list(store.data_dir.glob("windows/own/[!.]*"))
    built = store.reuse_or_build("windows", "own", **wanted, build=lambda _: {})
    assert finished.reuse_or_build("windows", "own", **wanted, build=lambda _: {}) == built
