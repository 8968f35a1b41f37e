import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from logllm_core.pages import report_page
from logllm_core.pages.html import TEMPLATES, flattened, percent
from tests.pages.sample_parts import HOSTILE
from tests.pages.sample_report import bare_content, pictures_of, report_of, small_content


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.script = ""
        self._open: list[str] = []
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"b", "dd", "div", "dt", "h3", "li", "span", "small", "td", "th"}:
            self.text += " "
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag in {"script", "style"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and tag == self._open[-1]:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open == ["script"]:
            self.script += data
        elif not self._open:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def small_html(small_pictures: dict[str, str]) -> str:
    return report_page.render(report_of(small_content()), small_pictures)


@pytest.fixture(scope="module")
def small(small_html: str) -> Page:
    return Page(small_html)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Page:
    content = bare_content()
    pictures = pictures_of(content, tmp_path_factory.mktemp("bare"))
    return Page(report_page.render(report_of(content), pictures))


def test_hostile_text_shows_as_text_and_makes_no_tag(small: Page) -> None:
    assert Counter(tag for tag, _ in small.tags)["script"] == 1
    assert "img" not in {tag for tag, _ in small.tags}
    assert "b" not in {tag for tag, attributes in small.tags if attributes}
    assert f"{HOSTILE} 41" in small.text
    assert (
        small.text.count(HOSTILE) >= 7
    )  # title, line, alert type, label of dropped, settings, ...
    assert "session blk_<b>7</b>" in small.text


def test_no_attribute_runs_anything_and_no_address_leads_out_but_the_data_sets(small: Page) -> None:
    names = {name for _, attributes in small.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    outward = {a for a in small.attributes("href") if not a.startswith("#")}
    assert outward == {"https://example.org/log"}
    assert not small.attributes("src")


def test_a_data_sets_page_that_is_no_web_address_is_not_linked(
    small_pictures: dict[str, str],
) -> None:
    content = small_content() | {"page": "javascript:alert(1)"}
    assert "javascript:" not in report_page.render(report_of(content), small_pictures)


def test_control_characters_and_marks_of_direction_are_spelt_out(small: Page) -> None:
    assert "␛[31mred␛[0m ⟨U+202E⟩gnp.exe" in small.text


@pytest.mark.parametrize("name", ["small", "bare"])
def test_ids_are_unique_and_every_anchor_has_its_target(
    name: str, request: pytest.FixtureRequest
) -> None:
    found: Page = request.getfixturevalue(name)
    ids = Counter(found.attributes("id"))
    assert not {one for one, count in ids.items() if count > 1}
    anchors = {a.removeprefix("#") for a in found.attributes("href") if a.startswith("#")}
    anchors |= set(found.attributes("aria-labelledby"))
    # The pictures' own parts are used by their links as well.
    assert anchors - set(ids) == set()


def test_the_policy_names_the_one_script_by_its_hash_and_allows_nothing_else(small: Page) -> None:
    digest = base64.b64encode(hashlib.sha256(small.script.encode()).digest()).decode()
    stated = [a["content"] for tag, a in small.tags if tag == "meta" and "http-equiv" in a]
    assert stated == [
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    ]


def test_the_first_paragraph_is_the_verdict(small_html: str) -> None:
    first = re.search(r"<p\b[^>]*>(.*?)</p>", small_html, flags=re.DOTALL)
    assert first
    assert first[1] == small_content()["verdict"]


def test_headings_follow_each_other_without_a_gap(small: Page) -> None:
    levels = [int(tag[1]) for tag, _ in small.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_head_of_a_table_says_what_it_is_the_head_of(small: Page) -> None:
    heads = [a for tag, a in small.tags if tag == "th" and "aria-hidden" not in a]
    assert {a.get("scope") for a in heads} == {"col", "row", "colgroup"}


def test_boxes_that_scroll_can_be_reached_and_are_named(small: Page) -> None:
    boxes = [a for _, a in small.tags if a.get("class") == "scroll"]
    assert len(boxes) >= 8
    assert all(a["tabindex"] == "0" and a["aria-label"] and a["role"] == "region" for a in boxes)


@pytest.mark.parametrize(
    "told",
    [
        # Two found of three alarms and of four anomalous windows.
        "likely answer. 3 of 10 test windows lie nearer to the decision than rounding",
        "Precision 0.667 0.627–0.687",  # noqa: RUF001
        "over seeds 0.600 ± 0.100",
        "undefined for at least one seed",
        "4 of 10 test windows are anomalous",
        "not applicable: The lines have no labels.",
        "+0.000 against always anomalous 95 %: −0.100 to +0.100, which holds 0",  # noqa: RUF001
        "+0.350 against always anomalous 95 %: +0.050 to +0.500",
        "anomalous 2 found 2 missed normal 1 false alarm 5 passed",
        "sequence not in training 5 windows, 2 anomalous",
        "4 flagged windows, of which 3 evenly chosen ones were looked into; 2 with an alert; "
        "2 of their 62 lines are alerts. 1 more alert",
        "Expected calibration error 0.062",
        "2 of 2 of this kind are shown",
        "normal, and no alarm · 0 of 5 of this kind are shown None is shown.",
        "37 lines left out",
        "20 lines left out",  # 60 lines, 3 shown, 37 skipped before the last
        "1,234 more characters",
        "dropped 201 do not match the line format",
        "always with this label 2",
        "F1 ceiling 0.857",
        "cut messages 0 beyond 100 tokens; 3 lines in windows of the test split have one",
        "cut windows 0 of the training split, beyond 128 messages",
        "long windows 2 of the test split, likewise: read in parts that overlap; 1 of them",
        "not the published archive",
        f"sha256:{'ab' * 32}",
        "Please cite: Nobody, 2024.",
        "stages.1.num_epochs 5",
        "stage 1 decoder 460,800 0.0005 20 3.130 → 0.133 90.0",
        "12.5 0.8 1.00 3.21",
        "157,947,648 parameters",
        "step 7, the best by validation (PR-AUC 0.875), and ended early.",
        "Stage 1 was cut off and went on 2 times.",
        "num cores 2",
    ],
)
def test_the_page_tells(told: str, small: Page) -> None:
    assert told in small.text


def test_a_report_without_anomalies_has_no_zeros_for_what_is_undefined(bare: Page) -> None:
    assert "Precision undefined no interval" in bare.text
    assert "No validation split with both labels: no threshold was chosen." in bare.text
    assert "There is no difference to tell: a figure is undefined." in bare.text
    assert "Every test window repeats a training window." in bare.text
    assert "Expected calibration error undefined" in bare.text
    assert "The recipe quick, unchanged." in bare.text
    assert "from its publisher, who gives no checksum" in bare.text
    ids = set(bare.attributes("id"))
    assert not ids & {"alerts", "lines", "seeds", "label-filter"}


@pytest.mark.parametrize(
    ("part", "whole", "told"),
    [
        (0, 7, "0 %"),
        (7, 7, "100 %"),
        (29, 200_000, "0.01 %"),
        (1, 8, "12.5 %"),
        (1, 0, "undefined"),
    ],
)
def test_a_share_keeps_the_places_that_tell_it_from_none(part: int, whole: int, told: str) -> None:
    assert percent(part, whole) == told


def test_settings_of_a_stage_are_named_as_they_are_overridden() -> None:
    settings = {"stages": [{"name": "3", "trains": ["a", "b"], "beta": None}], "is_even": True}
    assert list(flattened(settings)) == [
        ("stages.3.name", "3"),
        ("stages.3.trains", "a, b"),
        ("stages.3.beta", "null"),
        ("is_even", "true"),
    ]


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_of_black_and_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_by_4_5_and_marks_by_3(scheme: int) -> None:
    css = (TEMPLATES / "report.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[scheme]))
    wanted = {
        4.5: [(text, ground) for text in ("ink", "dim") for ground in ("paper", "card", "wash")]
        + [("ink", "carried"), ("ink", "sunk"), ("dim", "sunk")]
        + [(text, ground) for text in ("accent", "alarm") for ground in ("paper", "card", "sunk")],
        3: [(mark, "paper") for mark in ("edge", "quiet", "accent", "alarm")]
        + [("edge", "card"), ("accent", "carried"), ("alarm", "carried")],
    }
    faint = [
        (one, other, round(found, 2))
        for least, pairs in wanted.items()
        for one, other in pairs
        if (found := contrast(colours[one], colours[other])) < least
    ]
    assert not faint
