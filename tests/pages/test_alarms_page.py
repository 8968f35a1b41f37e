import random
import re
from datetime import timedelta

import pytest

from logllm_core.daily.ledger.cursors import new_dir
from logllm_core.errors import LogLLMError
from logllm_core.pages import alarms_page, judged_tables
from logllm_core.pages.alarms_page import write_page
from logllm_core.store.store import Store
from tests.pages.sample_alarms import JUDGED, STARTED, judged, write_source
from tests.pages.sample_parts import HOSTILE
from tests.pages.test_report_page import Page


def page_of(store: Store) -> Page:
    return Page(write_page(store, "own").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Two logs: five windows of which two are anomalous, and one of two, judged a night before."""
    store = Store(data_dir=tmp_path_factory.mktemp("told"))
    rows = [
        judged(0),
        judged(1, lines=[(17, "disk failed", 2.5), (12, "disk slow", 0.25)], num_unseen_lines=1),
        judged(2),
        judged(3, lines=[(30, "fan failed", 4.0)], probability=0.5625, is_anomalous=False),
        judged(4),
    ]
    write_source(store, "own", "aa", rows, path="/var/log/app.log")
    before = JUDGED - timedelta(days=1, seconds=1)
    rows = [
        judged(0, judged=before, model="0123456789abcdef"),
        judged(
            1,
            judged=before,
            lines=[(15, "link down", 1.0)],
            session_id="blk_1",
            num_unseen_lines=None,
            first_line=15,
            last_line=15,
            num_lines=1,
            model="0123456789abcdef",
        ),
    ]
    write_source(store, "own", "bb", rows, path="/var/log/old.log.gz")
    return page_of(store)


@pytest.mark.parametrize(
    "text",
    [
        "3 of 7 windows of 2 logs are called anomalous; the last verdict is of 2026-11-22 03:10:00",
        "Last day 2 called anomalous",
        "Anomalous 3 of 7 windows, 42.9 %",
        "Lines 66 read",  # 50, and 16
        "Never seen 1.7 % of the lines",  # 1 of 60; nothing is known of the last ten
        "Judged on 2026-11-22 2 alarms shown",
        "Judged on 2026-11-21 1 alarm shown",
        "2026-11-21 22:03:00 /var/log/app.log lines 30–39 labelled normal",  # noqa: RUF001
        "probability 0.562 fan failed 30 +4.00 fan failed 9 lines left out",
        # In the order of the log; the strongest line stands beside the name.
        "0.930 disk failed 12 +0.25 disk slow 17 +2.50 disk failed 8 lines left out",
        "/var/log/old.log.gz line 15 session blk_1",
        "/var/log/app.log 50 5 2 2026-11-21 22:00:002026-11-21 22:04:50 2026-11-22 03:10:00",
        "94f8c6d68ad8b5be 5 2 40.0 %",
        "0123456789abcdef 2 1 50.0 %",
    ],
)
def test_the_page_tells(text: str, told: Page) -> None:
    assert text in told.text


def test_the_newest_verdicts_come_first_and_the_later_of_one_log_before_the_earlier(
    told: Page,
) -> None:
    starts = [told.text.index(text) for text in ("fan failed 30", "disk slow 17", "link down 15")]
    assert starts == sorted(starts)


def test_the_tint_of_a_line_is_its_share_of_the_strongest(told: Page) -> None:
    assert "--tint:1.0" in told.attributes("style")
    assert "--tint:0.1" in told.attributes("style")  # 0.25 of 2.5


def test_a_bar_of_the_picture_leads_to_an_alarm_and_tells_its_counts(store: Store) -> None:
    # 95 windows a minute apart, and one that closes the 96th bar of a minute each.
    rows = [judged(n, lines=[(1, "x", 1.0)] if n in (0, 50) else []) for n in range(97)]
    write_source(store, "own", "aa", rows, path="app.log")
    html = write_page(store, "own").read_text(encoding="utf-8")
    found = Page(html)
    anchors = [a for a in found.attributes("href") if a.startswith("#window-")]
    assert len(anchors) == len(set(anchors)) == 2
    assert {a.removeprefix("#") for a in anchors} <= set(found.attributes("id"))
    assert "<title>from 2026-11-21 22:50:00: 1 of 1 windows called anomalous</title>" in html
    assert "2 anomalous of 97 windows, from 2026-11-21 22:00:00 to" in html


def test_an_anchor_stays_with_its_window_while_others_come(store: Store) -> None:
    rows = [judged(0, lines=[(1, "x", 1.0)])]
    write_source(store, "own", "aa", rows, path="app.log")
    (before,) = [name for name in page_of(store).attributes("id") if name.startswith("window-")][1:]
    rows = [*rows, judged(1, lines=[(11, "y", 1.0)])]
    write_source(store, "own", "aa", rows, path="moved.log")
    assert before in page_of(store).attributes("id")


@pytest.mark.parametrize(
    ("starts", "left_out"),
    [
        ([0.0, 1.0, 2.0], ""),
        ([0.0, None, 2.0], "1 is not in the picture"),
        ([*[float(n) for n in range(40)], -1e9], "1 is not in the picture"),  # 1995
    ],
)
def test_windows_without_a_time_or_far_from_all_others_are_counted_not_drawn(
    starts: list[float | None], left_out: str, store: Store
) -> None:
    rows = [
        judged(n, start_time=None if at is None else STARTED + timedelta(seconds=at))
        for n, at in enumerate(starts)
    ]
    write_source(store, "own", "aa", rows, path="app.log")
    found = page_of(store)
    assert left_out in found.text
    assert ("in the picture:" in found.text) == bool(left_out)


def test_what_was_judged_more_than_a_week_before_is_listed_and_not_drawn(store: Store) -> None:
    long_ago = JUDGED - timedelta(days=8)
    rows = [judged(0, judged=long_ago, lines=[(1, "early", 1.0)]), judged(1)]
    write_source(store, "own", "aa", rows, path="app.log")
    html = write_page(store, "own").read_text(encoding="utf-8")
    assert "0 anomalous of 1 windows" in html
    assert "early" in Page(html).text


def test_a_log_without_times_has_no_picture(store: Store) -> None:
    rows = [judged(0, start_time=None, end_time=None, lines=[(1, "x", 1.0)])]
    write_source(store, "own", "aa", rows, path="app.log")
    found = page_of(store)
    assert "No window has a time." in found.text
    assert "no time app.log lines 0–9" in found.text  # noqa: RUF001
    assert "svg" not in {tag for tag, _ in found.tags}


def test_of_one_window_there_is_one_bar(store: Store) -> None:
    write_source(store, "own", "aa", [judged(0, lines=[(1, "x", 1.0)])], path="app.log")
    assert "1 of 1 windows of one log is called anomalous" in page_of(store).text


def test_before_anything_was_judged_the_page_says_so(store: Store) -> None:
    found = page_of(store)
    assert "Nothing was judged yet." in found.text
    assert "Never seen undefined" in found.text


def test_where_nothing_is_anomalous_it_says_none(store: Store) -> None:
    write_source(store, "own", "aa", [judged(0), judged(1)], path="app.log")
    found = page_of(store)
    assert "None of 2 windows of one log is called anomalous" in found.text


def test_an_alarm_whose_lines_were_not_looked_into_says_so(store: Store) -> None:
    rows = [judged(0, verdict="anomalous", probability=0.75)]
    write_source(store, "own", "aa", rows, path="app.log")
    told = "10 lines; which of them carried the verdict is not known"
    assert told in page_of(store).text


def test_so_many_alarms_are_shown_and_the_others_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged_tables, "NUM_SHOWN_ALARMS", 2)
    monkeypatch.setattr(alarms_page, "NUM_SHOWN_LOGS", 1)
    for name in ("aa", "bb"):
        rows = [judged(n, lines=[(n, f"{name}{n}", 1.0)]) for n in range(3)]
        write_source(store, "own", name, rows, path=f"{name}.log")
    found = page_of(store)
    assert "The newest 2 of 6 are shown; all are in the view own.predictions." in found.text
    assert "aa2" in found.text
    assert "aa1" in found.text
    assert "aa0" not in found.text
    assert "The last 1 of 2 are shown." in found.text


def test_hostile_text_shows_as_text_and_makes_no_tag(store: Store) -> None:
    rows = [
        judged(0, lines=[(1, f"{HOSTILE} \x1b[31m\u202e", 1.0)], session_id=HOSTILE, model=HOSTILE)
    ]
    write_source(store, "own", "aa", rows, path=f"/tmp/{HOSTILE}\n.log")  # noqa: S108
    found = page_of(store)
    tags = [tag for tag, _ in found.tags]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert found.text.count(HOSTILE) >= 5  # the line twice, session, model, log
    assert "␛[31m⟨U+202E⟩" in found.text
    assert "␊.log" in found.text
    names = {name for _, attributes in found.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert all(a.startswith("#") for a in found.attributes("href"))
    assert not found.attributes("src")


def test_long_lines_are_cut_where_they_are_read(store: Store) -> None:
    lines = [(n, "x" * 1_234 + "end", 1.0) for n in range(30)]
    rows = [judged(0, lines=lines, num_lines=30, session_id="s" * 900)]
    write_source(store, "own", "aa", rows, path="p" * 900)
    html = write_page(store, "own").read_text(encoding="utf-8")
    assert "xend" not in html
    assert "737 more characters" in Page(html).text  # of 1,237
    assert "6 lines left out" in Page(html).text
    assert "p" * 200 not in html
    assert "s" * 201 not in html


def test_the_page_is_replaced_and_nothing_is_left_beside_it(store: Store) -> None:
    write_source(store, "own", "aa", [judged(0)], path="app.log")
    first = write_page(store, "own")
    write_source(store, "own", "aa", [judged(0), judged(1)], path="app.log")
    second = write_page(store, "own")
    assert first == second == new_dir(store, "own") / "page.html"
    assert "2 windows" in second.read_text(encoding="utf-8")
    assert sorted(p.name for p in second.parent.iterdir()) == ["aa", "page.html"]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([0, 0], "up to the last window that was judged Never"),
        ([1, 0], "judged; 1 is longer than the model reads, so that its end was not judged Never"),
        ([2, 3], "judged; 5 are longer than the model reads, so that their ends were not judged"),
    ],
)
def test_lines_that_the_model_reads_in_part_are_told(
    store: Store, counts: list[int], told: str
) -> None:
    rows = [judged(n, num_cut_lines=count) for n, count in enumerate(counts)]
    write_source(store, "own", "aa", rows, path="app.log")
    assert told in page_of(store).text


@pytest.mark.parametrize("name", ["aa", "bb", "cc"])  # alone, before and after the other one
def test_tables_of_before_lines_were_counted_are_told_too(store: Store, name: str) -> None:
    write_source(store, "own", name, [judged(0)], path="old.log", lacking=["num_cut_lines"])
    if name != "aa":
        write_source(store, "own", "bb" if name == "cc" else "cc", [judged(0)], path="new.log")
    found = page_of(store)
    assert f"None of {1 if name == 'aa' else 2} windows" in found.text
    assert "longer than the model reads" not in found.text


def test_a_table_that_does_not_count_is_not_told(store: Store) -> None:
    folder = write_source(store, "own", "aa", [judged(0)], path="app.log")
    (folder / "part-1.parquet").write_bytes((folder / "part-0.parquet").read_bytes())
    assert "None of 1 windows" in page_of(store).text


def test_a_damaged_table_is_one_clear_error_and_the_page_before_stays(store: Store) -> None:
    folder = write_source(store, "own", "aa", [judged(0)], path="app.log")
    page = write_page(store, "own")
    (folder / "part-0.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(LogLLMError, match=r"cannot be read: .* Restore them, or delete"):
        write_page(store, "own")
    assert "1 windows" in page.read_text(encoding="utf-8")


def test_ids_are_unique_and_every_anchor_has_its_target(told: Page) -> None:
    ids = told.attributes("id")
    assert len(ids) == len(set(ids))
    anchors = {a.removeprefix("#") for a in told.attributes("href")}
    assert anchors | set(told.attributes("aria-labelledby")) <= set(ids)


def test_headings_begin_with_one_of_the_first_level(told: Page) -> None:
    levels = [tag for tag, _ in told.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == "h1"
    assert levels.count("h1") == 1


@pytest.mark.slow
def test_windows_of_megabytes_are_read_although_duckdb_may_not_hold_them(store: Store) -> None:
    rows = [
        judged(n, lines=[(k, random.Random(n).randbytes(50_000).hex(), 1.0) for k in range(10)])
        for n in range(200)
    ]
    write_source(store, "own", "aa", rows, path="app.log")  # 200 windows of 1 MB each
    assert "200 of 200 windows" in page_of(store).text
