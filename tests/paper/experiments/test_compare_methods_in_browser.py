"""The page of a comparison in headless Chromium."""

from pathlib import Path
from typing import Any

import pytest

from tests.pages.conftest import Open
from tests.pages.sample_parts import HOSTILE
from tests.paper.experiments.sample_contenders import contender, sample

pytestmark = pytest.mark.slow

SCORES = [0.9, 0.1, 0.8, 0.1, 0.1, 0.7, 0.1, 0.2, 0.1, 0.1]
NARROW = {"viewport": {"width": 360, "height": 800}}


@pytest.fixture
def page_path(tmp_path: Path) -> Path:
    made = sample(tmp_path)
    found: list[Any] = [
        contender("cnn", "CNN", made.scores("cnn", SCORES), differs=(HOSTILE,)),
        contender("rapid", "RAPID", not_run=HOSTILE),
        contender("logllm", "LogLLM", settings={"name": "quick"}),
    ]
    return made.build(found).path / "comparison.html"


def test_the_page_opens_from_disk_asks_for_nothing_and_has_no_complaint(
    page_path: Path, open_file: Open
) -> None:
    opened = open_file(page_path)
    assert opened.requests == [opened.page.url]
    assert (opened.console, opened.dialogs) == ([], [])
    # Each entry of the contents leads to a section.
    targets = opened.page.locator(".contents a").evaluate_all("all => all.map((a) => a.hash)")
    assert "#figures" in targets
    assert all(opened.page.locator(target).count() == 1 for target in targets)
    ids = opened.page.locator("[id]").evaluate_all("all => all.map((found) => found.id)")
    assert len(ids) == len(set(ids))


def test_a_narrow_screen_does_not_scroll_sideways(page_path: Path, open_file: Open) -> None:
    page = open_file(page_path, **NARROW).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
