from pathlib import Path

import pytest

from logllm_core.daily.ledger import cursors
from logllm_core.daily.ledger.cursors import Cursor, write_cursor
from logllm_core.pages import alarms_page, renewed_pages
from logllm_core.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(data_dir=tmp_path)


@pytest.fixture
def source(store: Store) -> Path:
    folder = cursors.new_dir(store, "own") / "0123456789abcdef"
    folder.mkdir(parents=True)
    write_cursor(folder, Cursor(source="app.log", place={"offset": 0}, state=None))
    return folder


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made anew."""
    found: list[str] = []
    real = alarms_page.write_page

    def write_page(store: Store, dataset: str) -> Path:
        found.append(dataset)
        return real(store, dataset)

    monkeypatch.setattr(renewed_pages, "write_page", write_page)
    return found


def test_views_and_page_are_made_again_only_after_a_cursor_was_written(
    store: Store, source: Path, made: list[str]
) -> None:
    page = renewed_pages.renew(store, "own")
    assert page.is_file()
    assert renewed_pages.renew(store, "own") == page
    assert made == ["own"]
    write_cursor(source, Cursor(source="renamed.log", place={"offset": 0}, state=None))
    renewed_pages.renew(store, "own")
    assert made == ["own"] * 2


@pytest.mark.parametrize("name", ["predictions/own/new/page.html", "logllm.duckdb"])
def test_what_is_gone_is_made_again(store: Store, source: Path, made: list[str], name: str) -> None:
    renewed_pages.renew(store, "own")
    (store.data_dir / name).unlink()
    renewed_pages.renew(store, "own")
    assert made == ["own"] * 2
    assert (store.data_dir / name).exists()
    (source / "cursor.json").unlink()
    source.rmdir()  # to have that log judged anew
    renewed_pages.renew(store, "own")
    assert made == ["own"] * 3
