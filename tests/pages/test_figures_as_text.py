"""The report in short: rows of tables, and markdown in which nothing of the log is markup."""

import copy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from logllm_core.pages import markdown
from logllm_core.pages.figures_as_text import (
    NUM_SHOWN_ALERTS,
    NUM_SHOWN_CHARACTERS,
    alert_rows,
    as_setting,
    figure_rows,
    rounding_sentence,
    seed_choice,
    shown_interval,
)
from logllm_core.pages.markdown import as_markdown, escape
from tests.pages.sample_parts import HOSTILE
from tests.pages.sample_report import bare_content, small_content

PAGE = Path("/data/[runs]/report.html")
LOUD = "a|b **c** [d](javascript:e) `f` https://g.example <h>\n# i"


@pytest.fixture
def content() -> dict[str, Any]:
    """Two detectors; the model's F1 is known to lie between .861 and .952."""
    content = small_content()
    model = content["detectors"]["LogLLM"]
    model["intervals"]["at_decision"] |= {"f1": [0.861, 0.952], "mcc": [-0.1, 0.2]}
    model["intervals"]["at_validation_threshold"]["f1"] = None
    content["settings"]["overrides"] = {"stages.1.num_epochs": 5, "question": LOUD}
    return content


class Html(HTMLParser):
    """Tags and text of what a reader of markdown makes of it."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_row_tells_a_detectors_figures(content: dict[str, Any]) -> None:
    first, second = figure_rows(content)
    # 2 found, 1 false alarm, 2 missed, 5 passed: 8 / sqrt(3 * 4 * 6 * 7) is MCC.
    assert first == {
        "detector": "LogLLM",
        "precision": 0.667,
        "recall": 0.5,
        "f1": 0.571,
        "f1_interval": "0.861-0.952",
        "mcc": 0.356,
        "specificity": 0.833,
        "false_alarms_per_10000": 1000.0,
        "f1_at_validation_threshold": 0.667,  # 3 found, 2 false alarms, 1 missed
        "pr_auc": 0.75,
        "pr_auc_interval": "0.710-0.770",
        "roc_auc": 0.875,
        "oracle_f1": 0.75,
    }
    assert second["detector"] == "always anomalous"
    assert second["mcc"] == "undefined"
    assert second["f1_at_validation_threshold"] == "undefined"


def test_an_interval_is_told_as_it_is_read() -> None:
    assert shown_interval([0.861, 0.952]) == "0.861-0.952"
    assert shown_interval([-0.1, 0.2]) == "-0.100 to 0.200"
    assert shown_interval([8.04, 31.96], key="false_alarms_per_10000") == "8.0-32.0"
    assert shown_interval(None) == "undefined"


def test_a_setting_is_told_as_a_person_reads_it() -> None:
    assert as_setting({"seed": 1, "stages.2.num_epochs": 5}) == "seed = 1, stages.2.num_epochs = 5"
    values: list[Any] = [None, True, [0, 1], 0.5, "nf4", {}]
    told = ["not set", "true", "[0, 1]", "0.5", "nf4", ""]
    assert [as_setting(value) for value in values] == told


def test_alert_types_are_rows(content: dict[str, Any]) -> None:
    rows = alert_rows(content)
    assert [row["num_test_windows"] for row in rows] == [2, 1, 1]
    assert rows[0] == {
        "alert": "KERNDTLB",
        "is_in_training": True,
        "num_train_windows": 3,
        "num_test_windows": 2,
        "recall": 1.0,
    }
    assert not alert_rows({"alerts": None})


def test_long_names_and_long_lists_of_alerts_are_cut(content: dict[str, Any]) -> None:
    one = content["alerts"]["types"][0]
    content["alerts"]["types"] = [one | {"alert": "x" * 1_000}] * (NUM_SHOWN_ALERTS + 7)
    rows = alert_rows(content)
    assert len(rows) == NUM_SHOWN_ALERTS
    assert rows[0]["alert"] == "x" * NUM_SHOWN_CHARACTERS + "…"
    assert "7 more types are in the whole report" in Html(as_markdown(content, PAGE)).text


def test_the_markdown_tells_every_part_of_the_report(content: dict[str, Any]) -> None:
    html = Html(as_markdown(content, PAGE))
    for title in (
        *("LogLLM on hostile", "Figures", "Over seeds", "Beside the strongest other"),
        *("Never seen before", "Recall by alert type", "Which lines", "Calibration", "Data"),
        *("Cost", "Changed settings"),
    ):
        assert title in html.text
    for told in (
        content["verdict"],
        "0.861-0.952",
        "-0.100 to 0.200",
        "PR-AUC: LogLLM minus always anomalous is +0.350 (95 % 0.050-0.500).",
        "Seeds 0, 1, 2.",
        "5 test windows whose set of messages is in no training window; 2 of them anomalous.",
        "Anomalous test windows with none of them: 1, recall 0.000.",
        "ECE 0.062, Brier 0.044.",
        "30,000 lines read, 29,799 kept, 201 dropped",
        "mirror, not as published; sha256:abab",
        "stages.1.num_epochs = 5",
        "The lines have no labels.",
        f"The whole report: {PAGE}",
    ):
        assert told in html.text
    assert html.tags.count("h1") == 1
    assert html.tags.count("h2") == 10
    # Detectors, the model's own, seeds, two subsets, alerts, lines, bins, splits, cost.
    assert html.tags.count("table") == 10


@pytest.mark.parametrize(
    ("number", "log_odds", "told"),
    [
        (
            3,
            0.0816,
            "3 of 10 test windows lie nearer to the decision than rounding (log-odds 0.082, "
            "measured on 8 windows, in batches of four and in float32); on another processor their "
            "verdict may differ.",
        ),
        (
            1,
            0.001,
            "1 of 10 test windows lies nearer to the decision than rounding (log-odds 0.001, "
            "measured on 8 windows, in batches of four and in float32); on another processor its "
            "verdict may differ.",
        ),
        (
            0,
            0.0009,
            "No test window lies nearer to the decision than rounding (log-odds below 0.001, "
            "measured on 8 windows, in batches of four and in float32).",
        ),
    ],
)
def test_windows_that_rounding_may_judge_otherwise_are_told_in_a_sentence(
    content: dict[str, Any], number: int, log_odds: float, told: str
) -> None:
    content["scoring"]["num_windows_within_rounding"] = number
    content["scoring"]["rounding"]["log_odds"] = log_odds
    assert rounding_sentence(content) == told
    assert told in Html(as_markdown(content, PAGE)).text


def test_of_no_windows_nothing_is_told_about_rounding() -> None:
    assert rounding_sentence(bare_content()) is None


def test_every_row_of_a_table_has_all_its_cells(content: dict[str, Any]) -> None:
    content["alerts"]["types"][0]["alert"] = LOUD
    blocks = as_markdown(content, PAGE).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 10
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_nothing_of_the_log_is_markup(content: dict[str, Any]) -> None:
    calm = copy.deepcopy(content)
    calm["settings"]["overrides"]["question"] = calm["title"] = "calm"
    for found, name in zip(calm["alerts"]["types"], ("a", "b", "c"), strict=True):
        found["alert"] = name
    calm["data_card"]["labels_of_dropped"] = {"calm": 21, "no label": 180}
    content["alerts"]["types"][2]["alert"] = LOUD
    html = Html(as_markdown(content, PAGE))
    assert html.tags == Html(as_markdown(calm, PAGE)).tags
    assert html.text.count(HOSTILE) == 3  # the title, an alert type, a label of dropped lines
    assert LOUD.replace("\n", "\N{REPLACEMENT CHARACTER}") in html.text


def test_an_alert_is_no_markup_in_a_table_whose_cells_are_markdown(
    content: dict[str, Any],
) -> None:
    hostile = "![x](http://nowhere.test/p.png) <img/src=x/onerror=alert(1)> [a](b) \x1b[31m"
    content["alerts"]["types"][0]["alert"] = hostile
    cell = markdown.alert_rows(content)[0]["alert"]
    shown = MarkdownIt().render(cell)
    assert not any(tag in shown for tag in ("<img", "<a ", "\x1b"))
    assert "![x](http://nowhere.test/p.png) &lt;img/src" in shown


def test_what_is_not_there_is_left_out(content: dict[str, Any]) -> None:
    nothing = {"seeds": None, "alerts": None, "lines": None}
    content |= {**nothing, "not_applicable": {}, "differences": {"f1": None, "pr_auc": None}}
    content["settings"]["overrides"] = {}
    text = Html(as_markdown(content, PAGE)).text
    for title in ("Over seeds", "strongest", "alert type", "Which lines", "Changed", "applicable"):
        assert title not in text
    assert "None" not in text


def test_what_is_undefined_says_so() -> None:
    """Of a report with null wherever it may stand."""
    text = Html(as_markdown(bare_content(), PAGE)).text
    assert "None" not in text
    assert "undefined" in text
    assert not alert_rows(bare_content())
    assert {row["pr_auc_interval"] for row in figure_rows(bare_content())} == {"undefined"}


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), min_size=1))
@example(LOUD)
@example(HOSTILE)
@example("\\|")
@example("1) one")
@example("    code")
@example("1. &amp; <!-- x --> www.example.org ~~y~~ $z$")
def test_an_escaped_text_shows_as_it_stands(text: str) -> None:
    wanted = " ".join(text.replace("\n", "\N{REPLACEMENT CHARACTER}").split())
    if not wanted:
        return
    paragraph = Html(f"is {escape(text)}")
    assert (paragraph.tags, " ".join(paragraph.text.split())) == (["p"], f"is {wanted}")
    bullet = Html(f"- {escape(text)}")
    assert (bullet.tags, " ".join(bullet.text.split())) == (["ul", "li"], wanted)
    cell = Html(f"| x |\n|---|\n| {escape(text)} |")
    assert cell.tags == ["table", "thead", "tr", "th", "tbody", "tr", "td"]
    assert " ".join(cell.text.split()) == f"x {wanted}"


def test_which_seed_is_kept_and_by_which_figures_is_a_sentence(content: dict[str, Any]) -> None:
    assert seed_choice(content["seeds"]) is None
    assert seed_choice(None) is None
    content["seeds"]["kept"] = {
        "seed": 1,
        "validation": [
            {"seed": 1, "pr_auc": 0.95, "log_loss": 0.1},
            {"seed": 0, "pr_auc": None, "log_loss": 0.25},
        ],
    }
    sentence = (
        "Seed 1 is kept, which the validation split prefers by PR-AUC, then by log loss, then as "
        "the smaller seed (seed 0: PR-AUC undefined, log loss 0.250; seed 1: PR-AUC 0.950, log "
        "loss 0.100); the test split had no say."
    )
    assert seed_choice(content["seeds"]) == sentence
    assert sentence in Html(as_markdown(content, PAGE)).text
