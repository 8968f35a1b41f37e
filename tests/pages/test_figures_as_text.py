"""The report in short: rows of tables, and markdown in which nothing of the log is markup."""

from dataclasses import replace
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
from logllm_core.results.figures import Interval
from tests.pages.sample_parts import HOSTILE
from tests.pages.sample_report import bare_content, report_of, small_content

FOLDER = Path("/data/[runs]")
LOUD = "a|b **c** [d](javascript:e) `f` https://g.example <h>\n# i"


@pytest.fixture
def content() -> dict[str, Any]:
    """Two detectors; the model's F1 is known to lie between .861 and .952."""
    content = small_content()
    model = content["detectors"]["LogLLM"]
    model["intervals"]["at_decision"] |= {"f1": [0.861, 0.952], "mcc": [-0.1, 0.2]}
    model["intervals"]["at_validation_threshold"]["f1"] = None
    return content


def markdown_of(content: dict[str, Any]) -> str:
    return as_markdown(replace(report_of(content), folder=FOLDER))


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
    first, second = figure_rows(report_of(content).detectors)
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
    assert shown_interval(Interval(0.861, 0.952)) == "0.861-0.952"
    assert shown_interval(Interval(-0.1, 0.2)) == "-0.100 to 0.200"
    assert shown_interval(Interval(8.04, 31.96), key="false_alarms_per_10000") == "8.0-32.0"
    assert shown_interval(None) == "undefined"


def test_a_setting_is_told_as_a_person_reads_it() -> None:
    assert as_setting({"seed": 1, "stages.2.num_epochs": 5}) == "seed = 1, stages.2.num_epochs = 5"
    values: list[Any] = [None, True, [0, 1], 0.5, "nf4", {}]
    told = ["not set", "true", "[0, 1]", "0.5", "nf4", ""]
    assert [as_setting(value) for value in values] == told


def test_alert_types_are_rows(content: dict[str, Any]) -> None:
    rows = alert_rows(report_of(content).alerts)
    assert [row["num_test_windows"] for row in rows] == [2, 1, 1]
    assert rows[0] == {
        "alert": "KERNDTLB",
        "is_in_training": True,
        "num_train_windows": 3,
        "num_test_windows": 2,
        "recall": 1.0,
    }
    assert not alert_rows(None)


def test_long_names_and_long_lists_of_alerts_are_cut(content: dict[str, Any]) -> None:
    one = content["alerts"]["types"][0]
    content["alerts"]["types"] = [one | {"alert": "x" * 1_000}] * (NUM_SHOWN_ALERTS + 7)
    rows = alert_rows(report_of(content).alerts)
    assert len(rows) == NUM_SHOWN_ALERTS
    assert rows[0]["alert"] == "x" * NUM_SHOWN_CHARACTERS + "…"


def test_the_markdown_tells_the_verdict_the_models_figures_and_where_the_page_lies(
    content: dict[str, Any],
) -> None:
    html = Html(markdown_of(content))
    for text in (
        "LogLLM on hostile",
        content["verdict"],
        "0.861-0.952",
        "-0.100 to 0.200",
        f"The whole report: {FOLDER / 'report.html'}",
    ):
        assert text in html.text
    assert (html.tags.count("h1"), html.tags.count("table")) == (1, 1)
    # The head, and ten figures.
    assert html.tags.count("tr") == 11


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
    assert rounding_sentence(report_of(content).scoring) == told


def test_of_no_windows_nothing_is_told_about_rounding() -> None:
    assert rounding_sentence(report_of(bare_content()).scoring) is None


def test_nothing_of_the_log_is_markup(content: dict[str, Any]) -> None:
    calm, loud = content | {"verdict": "calm"}, content | {"verdict": LOUD}
    html = Html(markdown_of(loud))
    assert html.tags == Html(markdown_of(calm)).tags
    assert LOUD.replace("\n", "\N{REPLACEMENT CHARACTER}") in html.text


def test_an_alert_is_no_markup_in_a_table_whose_cells_are_markdown(
    content: dict[str, Any],
) -> None:
    hostile = "![x](http://nowhere.test/p.png) <img/src=x/onerror=alert(1)> [a](b) \x1b[31m"
    content["alerts"]["types"][0]["alert"] = hostile
    cell = str(markdown.alert_rows(report_of(content).alerts)[0]["alert"])
    shown = MarkdownIt().render(cell)
    assert not any(tag in shown for tag in ("<img", "<a ", "\x1b"))
    assert "![x](http://nowhere.test/p.png) &lt;img/src" in shown


def test_what_is_undefined_says_so() -> None:
    """Of a report with null wherever it may stand."""
    text = Html(markdown_of(bare_content())).text
    assert "None" not in text
    assert "undefined" in text
    bare = report_of(bare_content())
    assert not alert_rows(bare.alerts)
    assert {row["pr_auc_interval"] for row in figure_rows(bare.detectors)} == {"undefined"}


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
    assert seed_choice(report_of(content).seeds) is None
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
    assert seed_choice(report_of(content).seeds) == sentence
