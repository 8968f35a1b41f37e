"""The page of alarms in headless Chromium."""

from pathlib import Path

import pytest

from logllm_core.pages.alarms_page import write_page
from logllm_core.store.store import Store
from tests.pages.conftest import Open
from tests.pages.sample_alarms import judged, write_source
from tests.pages.sample_parts import HOSTILE
from tests.pages.test_report_page_in_browser import INJECTED

pytestmark = pytest.mark.slow

LONG = "x" * 400


@pytest.fixture
def page_path(store: Store) -> Path:
    """Windows 1, 4, 7, ... of app.log are anomalous, and one of another log."""
    rows = [judged(n, lines=[(n, f"needle {n}", 1.0)] if n % 3 == 1 else []) for n in range(30)]
    write_source(store, "own", "aa", rows, path="/var/log/app.log")
    lines = [(3, HOSTILE, 2.0), (4, LONG, 1.0)]
    write_source(store, "own", "bb", [judged(0, lines=lines, session_id=LONG)], path=f"/{LONG}")
    return write_page(store, "own")


def test_the_page_opens_from_disk_asks_for_nothing_and_has_no_complaint(
    page_path: Path, open_file: Open
) -> None:
    opened = open_file(page_path)
    assert opened.requests == [opened.page.url]
    assert opened.console == []
    assert opened.dialogs == []
    assert opened.page.title() == "Alarms in own"
    assert opened.count() == "11 of 11 shown"


def test_an_empty_page_has_no_complaint(store: Store, open_file: Open) -> None:
    opened = open_file(write_page(store, "own"))
    assert opened.console == []
    assert opened.count() == "0 of 0 shown"
    assert not opened.page.locator("#nothing").is_visible()


def test_a_script_that_got_in_unescaped_does_not_run(page_path: Path, open_file: Open) -> None:
    page_path.write_text(page_path.read_text().replace("</main>", INJECTED + "</main>"))
    opened = open_file(page_path)
    opened.page.click("#lure")
    opened.page.wait_for_timeout(200)
    assert opened.page.title() == "Alarms in own"


def test_alarms_can_be_filtered_by_log_and_text_and_cleared(
    page_path: Path, open_file: Open
) -> None:
    opened = open_file(page_path)
    opened.page.select_option("#label-filter", "/var/log/app.log")
    assert opened.count() == "10 of 11 shown"
    opened.page.fill("#search", "NEEDLE 1")
    assert opened.count() == "5 of 11 shown"  # 1, 10, 13, 16, 19
    opened.page.keyboard.press("Escape")
    assert opened.count() == "11 of 11 shown"
    opened.page.fill("#search", "<img src=x")
    assert len(opened.shown()) == 1
    opened.page.fill("#search", "nowhere")
    assert opened.page.locator("#nothing").is_visible()


def test_a_bar_opens_its_alarm(page_path: Path, open_file: Open) -> None:
    opened = open_file(page_path)
    opened.page.fill("#search", "nowhere")
    bar = opened.page.locator("#timeline svg a").last
    target = (bar.get_attribute("href") or "").removeprefix("#")
    bar.click(force=True)
    assert opened.focused() == target
    assert opened.page.locator(f"#{target}").is_visible()


@pytest.mark.parametrize("width", [320, 360, 700, 1250])
def test_the_page_itself_never_scrolls_sideways(
    width: int, page_path: Path, open_file: Open
) -> None:
    opened = open_file(page_path, viewport={"width": width, "height": 800})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_and_light_differ(page_path: Path, open_file: Open) -> None:
    grounds = {
        open_file(page_path, color_scheme=scheme).page.evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert grounds == {"rgb(251, 250, 247)", "rgb(22, 24, 28)"}


def test_without_scripts_all_is_there_and_bars_lead_to_alarms(
    page_path: Path, open_file: Open
) -> None:
    opened = open_file(page_path, java_script_enabled=False)
    assert not opened.page.locator(".controls").is_visible()
    assert opened.page.locator(".window summary").count() == 11
    target = opened.page.locator("#timeline svg a").first.get_attribute("href") or ""
    opened.page.goto(page_path.as_uri() + target)
    assert opened.page.locator(target).is_visible()
    assert opened.console == []
