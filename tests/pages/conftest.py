import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from logllm_core.pages import report_page
from tests.pages.sample_report import pictures_of, report_of, small_content


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A report in a browser, with all that it said and asked for."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def count(self) -> str:
        return self.page.locator("#count").inner_text()

    def shown(self) -> list[str]:
        """The names of the windows that can be seen, in their order."""
        names: list[str] = self.page.locator(".window:visible .lines").evaluate_all(
            "lists => lists.map((list) => list.id)"
        )
        return names

    def focused(self) -> str:
        """The window whose summary has the focus."""
        name: str = self.page.evaluate(
            "document.activeElement.closest('.window')?.querySelector('.lines').id ?? ''"
        )
        return name


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def small_pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return pictures_of(small_content(), tmp_path_factory.mktemp("small"))


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Headless Chromium; while it runs, no other event loop can on this thread."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path)
        yield found
        found.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as found:
        yield found


@pytest.fixture
def open_file(browser: Browser) -> Iterator[Open]:
    """Opens a page's file in a browser of given options."""
    contexts = []

    def open_it(path: Path, *, anchor: str = "", **options: Any) -> Opened:
        context = browser.new_context(**options)
        contexts.append(context)
        opened = Opened(page=context.new_page())
        opened.page.on("console", lambda message: opened.console.append(message.text))
        opened.page.on("pageerror", lambda error: opened.console.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))

        def dismiss(dialog: Any) -> None:
            opened.dialogs.append(dialog.message)
            dialog.dismiss()

        opened.page.on("dialog", dismiss)
        opened.page.goto(path.as_uri() + anchor)
        return opened

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture
def open_report(open_file: Open, tmp_path: Path, small_pictures: dict[str, str]) -> Open:
    """Renders a report's content, and opens its file."""

    def open_it(
        content: dict[str, Any], *, change: Callable[[str], str] = str, **options: Any
    ) -> Opened:
        path = tmp_path / "report.html"
        html = report_page.render(report_of(content), small_pictures)
        path.write_text(change(html), encoding="utf-8")
        return open_file(path, **options)

    return open_it
