"""What is damaged stops its own data set alone, and is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.query.views import refresh_views
from logllm_core.store.sealed_json import seal
from logllm_core.store.store import Store
from tests.query.test_views import ask, prepare

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def warnings() -> list[str]:
    heard: list[str] = []
    logger.add(heard.append, level="WARNING", format="{message}")
    return heard


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("inputs"),
        lambda manifest: manifest["inputs"].pop("messages"),
        lambda manifest: manifest.update(inputs=["messages"]),
        lambda manifest: manifest.update(inputs={"messages": {"own": 1}}),
    ],
)
def test_a_bad_manifest_stops_the_views_of_its_data_set_alone(
    store: Store, tmp_path: Path, warnings: list[str], change: Change
) -> None:
    prepare(store, tmp_path, name="bad")
    prepare(store, tmp_path, name="good")
    windows: Any = store.newest("windows", "bad")
    path = windows.path / "manifest.json"
    manifest = windows.manifest
    change(manifest)
    path.write_bytes(seal(manifest))  # as another version might have written it
    refresh_views(store)
    assert ask(store, "select count(*) from good.windows") == [(3,)]
    (said,) = warnings
    assert "No views of 'bad'" in said
    assert f"{path} is damaged: it has no inputs.messages. Restore it, or delete" in said
    with pytest.raises(LogLLMError, match="refuses the query"):
        ask(store, "from bad.messages")


def test_a_manifest_that_no_reader_takes_stops_its_data_set_alone(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path, name="good")
    listed = [{"name": "x" * 300, "size_bytes": 1, "sha256": ""}]
    for number, content in enumerate((b"[" * 100_000, b"null", seal({"files": listed}))):
        artifact = store.data_dir / "windows" / "bad" / f"{number}123456789abcdef"
        artifact.mkdir(parents=True)
        (artifact / "manifest.json").write_bytes(content)
        refresh_views(store)
        assert ask(store, "select count(*) from good.windows") == [(3,)]
        assert warnings.pop().startswith(f"{artifact} is damaged, and left out.")
    assert not warnings


def test_a_bad_cursor_stops_only_what_is_new(
    store: Store, tmp_path: Path, warnings: list[str]
) -> None:
    prepare(store, tmp_path)
    folder = store.data_dir / "predictions" / "own" / "new" / "0123456789abcdef"
    folder.mkdir(parents=True)
    part = {"name": 5, "num_windows": 1}
    cursor = {"source": "x", "place": 0, "state": 0, "parts": [part], "retired": [], "looks": []}
    for content, said in ((b"{", "cursor.json is damaged"), (seal(cursor), "No new logs in own")):
        (folder / "cursor.json").write_bytes(content)
        refresh_views(store)
        assert ask(store, "select count(*) from own.windows") == [(3,)]
        assert said in warnings.pop()
    assert not warnings


@pytest.mark.parametrize("name", ["it's", 'a"b', "a*", "[x]", "\\", "A", "temp"])
def test_a_folder_that_is_no_data_sets_is_said_and_stops_nothing(
    store: Store, tmp_path: Path, warnings: list[str], name: str
) -> None:
    prepare(store, tmp_path)
    (store.data_dir / "messages" / name).mkdir()
    (store.data_dir / "messages" / ".hidden").mkdir()
    refresh_views(store)
    assert ask(store, "select count(*) from own.windows") == [(3,)]
    assert [f"No views of {name!r}:" in said for said in warnings] == [True] * (name != "temp")
