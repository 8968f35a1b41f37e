"""The report's page in headless Chromium."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.pages.conftest import Open
from tests.pages.sample_parts import HOSTILE, line, window
from tests.pages.sample_report import bare_content, small_content

pytestmark = pytest.mark.slow

NARROW = {"viewport": {"width": 360, "height": 800}}
INJECTED = (
    "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
    "<a id=lure href=\"javascript:document.title = 'run'\">lure</a>"
    "<iframe srcdoc=\"<script>parent.document.title = 'run'</script>\"></iframe>"
)


def large_content() -> dict[str, Any]:
    """650 windows of 24 lines."""
    content = small_content()
    lines = [
        line(n, f"message {n} of a window, with some more words", alert=None) for n in range(24)
    ]
    content["windows"] = [
        window("found", number, [*lines[:-1], line(24, f"needle {number}")])
        for number in range(650)
    ]
    return content


@pytest.mark.parametrize("make", [small_content, bare_content])
def test_the_page_opens_from_disk_asks_for_nothing_and_has_no_complaint(
    make: Callable[[], dict[str, Any]], open_report: Open
) -> None:
    opened = open_report(make())
    assert opened.page.url.startswith("file://")
    assert opened.requests == [opened.page.url]
    assert opened.console == []
    assert opened.dialogs == []
    assert opened.page.title() == "LogLLM on hostile"


def test_hostile_text_is_seen_as_text(open_report: Open) -> None:
    opened = open_report(small_content())
    opened.page.fill("#search", "quotes")
    opened.page.locator("#window-4").evaluate("list => { list.parentElement.open = true }")
    assert f"{HOSTILE} 41" in opened.page.locator("#window-4").inner_text()
    assert opened.dialogs == []


def test_a_script_that_got_in_unescaped_does_not_run(open_report: Open) -> None:
    opened = open_report(small_content(), change=lambda html: html.replace("</main>", INJECTED))
    opened.page.click("#lure")
    opened.page.wait_for_timeout(200)
    assert opened.page.title() == "LogLLM on hostile"
    assert sum("Content Security Policy" in text for text in opened.console) >= 3
    # The page's own script does run.
    assert opened.count() == "5 of 5 shown"


def test_without_the_policy_it_would(open_report: Open) -> None:
    def open_the_gate(html: str) -> str:
        return html.replace("Content-Security-Policy", "X").replace("</main>", INJECTED)

    opened = open_report(small_content(), change=open_the_gate)
    opened.page.wait_for_timeout(200)
    assert opened.page.title() == "run"


def test_windows_can_be_filtered_by_kind_alert_type_and_text(open_report: Open) -> None:
    opened = open_report(small_content())
    assert opened.count() == "5 of 5 shown"
    opened.page.check("input[name=kind][value=missed]", force=True)
    assert opened.shown() == ["window-7", "window-8"]
    assert opened.count() == "2 of 5 shown"
    assert not opened.page.locator("#kind-found").is_visible()
    opened.page.select_option("#label-filter", HOSTILE)
    assert opened.shown() == ["window-7"]
    opened.page.click("#clear")
    assert opened.count() == "5 of 5 shown"
    opened.page.select_option("#label-filter", "KERNDTLB")
    assert opened.shown() == ["window-4", "window-5"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("NEEDLE in", ["window-8"]),
        ("window 3", ["window-3"]),
        ("blk_<b>", ["window-7"]),
        ("<script>", ["window-7", "window-4"]),
        ("nowhere", []),
    ],
)
def test_search_looks_into_text_ids_and_sessions(
    words: str, shown: list[str], open_report: Open
) -> None:
    opened = open_report(small_content())
    opened.page.fill("#search", words)
    assert opened.shown() == shown
    assert opened.count() == f"{len(shown)} of 5 shown"
    assert opened.page.locator("#nothing").is_visible() == (not shown)


def test_a_count_of_the_confusion_table_leads_to_its_windows(open_report: Open) -> None:
    opened = open_report(small_content())
    opened.page.fill("#search", "nowhere")
    opened.page.get_by_role("link", name="2 missed").click()
    assert opened.shown() == ["window-7", "window-8"]
    assert opened.focused() == "window-7"
    assert opened.page.get_by_role("radio", name="missed 2").is_checked()
    # None of those that passed is shown, so there is nothing to lead to.
    assert opened.page.get_by_role("link", name="passed").count() == 0


def test_a_mark_of_the_timeline_opens_its_window_even_where_it_was_filtered_out(
    open_report: Open,
) -> None:
    opened = open_report(small_content())
    opened.page.fill("#search", "nowhere")
    opened.page.locator("#timeline a[href='#window-8']").click(force=True)
    assert opened.focused() == "window-8"
    assert opened.page.locator("#window-8").is_visible()
    assert opened.page.url.endswith("#window-8")


def test_an_address_with_a_window_opens_it(open_report: Open) -> None:
    opened = open_report(small_content(), anchor="#window-3")
    assert opened.focused() == "window-3"
    assert opened.page.locator("#window-3").is_visible()


def test_the_list_can_be_walked_with_the_keyboard(open_report: Open) -> None:
    opened = open_report(small_content())
    keyboard = opened.page.keyboard
    keyboard.press("/")
    assert opened.page.locator("#search").evaluate("field => field === document.activeElement")
    keyboard.type("jk/")  # typed, not obeyed
    assert opened.page.input_value("#search") == "jk/"
    keyboard.press("Escape")
    assert opened.page.input_value("#search") == ""
    assert opened.count() == "5 of 5 shown"
    opened.page.evaluate("document.activeElement.blur()")
    found = []
    for key in ("j", "j", "ArrowDown", "k", "ArrowUp", "k"):
        keyboard.press(key)
        found.append(opened.focused())
    assert found == [f"window-{number}" for number in (7, 8, 3, 8, 7, 7)]
    keyboard.press("Enter")
    assert opened.page.locator("#window-7").is_visible()


def test_escape_clears_the_filters_too(open_report: Open) -> None:
    opened = open_report(small_content())
    opened.page.get_by_role("link", name="2 missed").click()
    opened.page.keyboard.press("Escape")
    assert opened.count() == "5 of 5 shown"
    assert opened.page.get_by_role("radio", name="all").is_checked()


def test_tab_begins_with_the_way_past_the_contents_and_skips_the_marks(open_report: Open) -> None:
    opened = open_report(small_content())
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.textContent") == "Skip to the figures"
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.activeElement.id") == "figures"
    names = set()
    for _ in range(60):
        opened.page.keyboard.press("Tab")
        names.add(opened.page.evaluate("document.activeElement.closest('svg') && 'svg'"))
        names.add(opened.focused())
    assert "svg" not in names
    assert {f"window-{number}" for number in (3, 4, 5, 7, 8)} <= names


@pytest.mark.parametrize("make", [small_content, bare_content])
@pytest.mark.parametrize("width", [320, 360, 700, 1000, 1250])
def test_the_page_itself_never_scrolls_sideways(
    width: int, make: Callable[[], dict[str, Any]], open_report: Open
) -> None:
    content = make()
    content["windows"] += [window("found", 9, [line(1, "x" * 400, alert="Y" * 90)])]
    content["confusion"]["found"]["num_shown"] = 1
    opened = open_report(content, viewport={"width": width, "height": 800})
    opened.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_and_light_differ_and_pictures_follow(open_report: Open) -> None:
    grounds, inks = set(), set()
    for scheme in ("light", "dark"):
        opened = open_report(small_content(), color_scheme=scheme)
        grounds.add(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        inks.add(
            opened.page.evaluate("getComputedStyle(document.querySelector('#curve text')).fill")
        )
    assert grounds == {"rgb(251, 250, 247)", "rgb(22, 24, 28)"}
    assert len(inks) == 2


def test_without_scripts_all_is_there_and_anchors_open_windows(open_report: Open) -> None:
    opened = open_report(small_content(), anchor="#window-7", java_script_enabled=False)
    assert not opened.page.locator(".controls").is_visible()
    assert opened.page.locator("summary", has_text="window").count() == 5
    assert opened.page.locator("#window-7").is_visible()  # the browser opens what it leads into
    assert opened.page.get_by_role("link", name="2 found").get_attribute("href") == "#kind-found"
    assert opened.console == []


def test_contents_are_open_where_there_is_room_and_fold_where_there_is_not(
    open_report: Open,
) -> None:
    wide = open_report(small_content(), viewport={"width": 1400, "height": 900})
    assert wide.page.get_by_role("link", name="Data card").is_visible()
    narrow = open_report(small_content(), **NARROW)
    assert not narrow.page.get_by_role("link", name="Data card").is_visible()
    narrow.page.get_by_text("Contents").click()
    narrow.page.get_by_role("link", name="Data card").click()
    assert narrow.page.url.endswith("#data")
    assert not narrow.page.get_by_role("link", name="Data card").is_visible()


def test_on_paper_there_are_no_controls(open_report: Open) -> None:
    opened = open_report(small_content())
    opened.page.emulate_media(media="print")
    assert not opened.page.locator(".controls").is_visible()
    assert not opened.page.locator("nav").is_visible()
    assert opened.page.locator("#window-list").is_visible()


def test_many_windows_are_searched_at_once(open_report: Open) -> None:
    opened = open_report(large_content())
    assert opened.count() == "650 of 650 shown"
    opened.page.fill("#search", "needle 64")
    assert opened.count() == "11 of 650 shown"  # 64, 640 to 649
