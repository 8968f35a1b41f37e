import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logllm_core.pages import alert_bars, charts, timeline
from logllm_core.pages import svg as pictures
from tests.pages.sample_parts import MODEL, OTHERS
from tests.pages.sample_report import START, bare_content, pictures_of, report_of, small_content

XLINK = "{http://www.w3.org/1999/xlink}href"


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - our own


def words(svg: str) -> list[str]:
    return [text.text or "" for text in parsed(svg).iter() if tag(text) == "text"]


def tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def over_time(
    probabilities: list[float],
    is_anomalous: list[bool],
    times: list[datetime | None] | None = None,
    *,
    content: dict[str, Any] | None = None,
    window_ids: tuple[int, ...] = (),
) -> str:
    return timeline.probability_over_time(
        report_of(content or small_content() | {"windows": []}),
        np.array(is_anomalous),
        np.array(probabilities),
        times=times or [None] * len(probabilities),
        window_ids=window_ids,
    )


def test_the_pictures_are_named_labelled_and_well_formed(small_pictures: dict[str, str]) -> None:
    assert list(small_pictures) == [
        "curve",
        "curve_key",
        "timeline",
        "losses",
        "reliability",
        "alert_recall",
    ]
    for svg in small_pictures.values():
        root = parsed(svg)
        assert root.attrib["role"] == "img"
        assert len(root.attrib["aria-label"]) > 10
        assert "width" not in root.attrib
        assert not {"style", "metadata", "script"} & {tag(element) for element in root.iter()}


def test_ids_of_two_pictures_differ_and_each_use_finds_its_own(
    small_pictures: dict[str, str],
) -> None:
    seen: set[str] = set()
    for svg in small_pictures.values():
        ids = re.findall(r'\bid="([^"]+)"', svg)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
        assert {a or b for a, b in used if not a.startswith("window-")} <= set(ids)


def test_every_colour_is_the_pages(small_pictures: dict[str, str]) -> None:
    for svg in small_pictures.values():
        assert not re.findall(r"#0[0-9]0[0-9]0[0-9]\b|#[0-9a-f]{6}\b|rgb\(", svg)
        assert "var(--ink)" in svg


def test_the_same_content_is_drawn_the_same(small_pictures: dict[str, str], tmp_path: Path) -> None:
    assert pictures_of(small_content(), tmp_path) == small_pictures


def test_the_key_names_the_decisions_and_every_other_detector(
    small_pictures: dict[str, str],
) -> None:
    assert words(small_pictures["curve_key"]) == [
        f"{MODEL} at every threshold",
        "threshold 0.5, the more likely answer",
        "threshold 0.250, chosen on validation",
        OTHERS[0],
    ]


def test_without_a_chosen_threshold_none_is_shown() -> None:
    content = bare_content()
    key = words(charts.curve_key(report_of(content)))
    assert not [text for text in key if "validation" in text]
    assert "chosen on validation" not in over_time([0.1], [False], content=content)


def test_a_curve_without_anomalies_is_empty_but_drawn(tmp_path: Path) -> None:
    found = pictures_of(bare_content(), tmp_path)
    assert "alert_recall" not in found
    assert "undefined" in parsed(found["curve"]).attrib["aria-label"]


def test_marks_of_shown_windows_lead_to_them_and_tab_passes_them_by(
    small_pictures: dict[str, str],
) -> None:
    links = [e for e in parsed(small_pictures["timeline"]).iter() if tag(e) == "a"]
    found = {
        link.attrib["href"]: next(e.text for e in link.iter() if tag(e) == "title")
        for link in links
    }
    assert found == {
        "#window-3": "window 3, false alarm, probability 0.900",
        "#window-4": "window 4, found, probability 0.950",
        "#window-5": "window 5, found, probability 0.800",
        "#window-7": "window 7, missed, probability 0.100",
        "#window-8": "window 8, missed, probability 0.300",
    }
    assert {link.attrib["tabindex"] for link in links} == {"-1"}
    assert XLINK not in {name for link in links for name in link.attrib}


@pytest.mark.parametrize("is_shown", [False, True])
def test_true_anomalies_differ_in_shape_as_well_as_in_colour(is_shown: bool) -> None:
    content = small_content()
    svg = over_time(
        [0.2, 0.9], [False, True], content=content, window_ids=(3, 4) if is_shown else (98, 99)
    )
    drawn = dict(re.findall(r'<path id="([^"]+)" d="([^"]+)"', svg))
    marks: dict[str, list[bool]] = {"quiet": [], "alarm": []}  # is each of them round?
    for shape, colour in re.findall(
        r'<use href="#([^"]+)"[^>]*style="fill: var\(--(quiet|alarm)\)"', svg
    ):
        marks[colour].append("C" in drawn[shape])
    # A circle is made of curves, a diamond of straight lines.
    assert marks == {"quiet": [True], "alarm": [False]}


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (timedelta(seconds=10), ["15:42:50", "15:43:00", "15:43:10"]),
        (timedelta(hours=12), ["06-03 15:42", "06-04 03:42", "06-04 15:42"]),
        (timedelta(days=10), ["2005-06-03", "2005-06-13", "2005-06-23"]),
    ],
)
def test_ticks_tell_the_time_as_finely_as_the_log_is_long(step: timedelta, told: list[str]) -> None:
    svg = over_time([0.1, 0.2, 0.3], [False] * 3, [START + n * step for n in range(3)])
    assert words(svg)[: len(told)] == told or set(told) <= set(words(svg))


def test_ticks_count_windows_where_none_has_a_time() -> None:
    assert "test window, in log order" in words(over_time([0.1, 0.2], [False, True]))


@given(st.lists(st.booleans(), min_size=1, max_size=400), st.integers(1, 60))
def test_no_more_points_are_drawn_than_allowed_and_shown_windows_not_twice(
    alarms: list[bool], limit: int
) -> None:
    scores = np.array([0.9 if is_alarm else 0.1 for is_alarm in alarms])
    shown = list(range(0, len(alarms), 7))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "MAX_POINTS", 2 * limit)
        drawn = timeline._thinned(np.arange(len(alarms)), scores, shown)
    assert not set(drawn.tolist()) & set(shown)
    assert len(drawn) <= 2 * limit
    assert any(alarms[place] for place in drawn) == any(
        is_alarm for place, is_alarm in enumerate(alarms) if place not in shown
    )


def alert_picture(content: dict[str, Any]) -> str:
    report = report_of(content)
    assert report.alerts
    return alert_bars.alert_recall(report.alerts, report.differences)


def test_hostile_alert_names_stay_text(small_pictures: dict[str, str]) -> None:
    found = words(small_pictures["alert_recall"])
    assert "$\\frac{" in found  # not read as mathematics
    assert "<script>alert(1)<…" in found
    assert "LogLLM, new type" in found


def test_what_looks_like_an_id_or_a_colour_in_a_name_is_left_alone() -> None:
    content = small_content()
    content["alerts"]["types"][0]["alert"] = ' id="x" #010101'
    assert ' id="x" #010101' in words(alert_picture(content))


def test_glyphs_that_the_measuring_font_lacks_are_no_complaint() -> None:
    content = small_content()
    content["alerts"]["types"][0]["alert"] = "故障 \N{PILE OF POO}"
    assert "故障 \N{PILE OF POO}" in words(alert_picture(content))


def test_the_reliability_picture_counts_the_windows_of_each_bin(
    small_pictures: dict[str, str],
) -> None:
    found = words(small_pictures["reliability"])
    assert found.count("4") == 1
    assert found.count("3") == 1


def test_a_stage_without_steps_is_passed_over(tmp_path: Path) -> None:
    folders = []
    for name, text in (("1", ""), ("2", '{"loss": 2.0}\n{"loss": 1.0}\n')):
        folders.append((name, tmp_path / name))
        folders[-1][1].mkdir()
        (folders[-1][1] / "metrics.jsonl").write_text(text)
    found = words(charts.losses(folders))
    assert "2" in found
    assert "1" in found  # the loss


@given(st.text())
@example("\x1b[31m \x9b31m \x85 \u202e \ud800")
def test_visible_text_holds_no_control_and_no_change_of_direction(text: str) -> None:
    shown = pictures.visible(text)
    shown.encode()
    assert not re.findall(
        r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]", shown
    )


def test_plain_text_is_shown_as_it_is() -> None:
    assert pictures.visible("plain\ttext, Käse") == "plain\ttext, Käse"
    assert pictures.visible("a" * 30, 10) == "a" * 9 + "…"
