"""What is told in short where no HTML is shown: the verdict, a table and where the page lies.

Log text, such as the name of an alert, is hostile: its marks are escaped.
"""

import re
from collections.abc import Iterable, Sequence

from logllm_core.pages import figures_as_text
from logllm_core.pages.figures_as_text import LABELS, Row, shown, shown_interval
from logllm_core.results import MODEL
from logllm_core.results.report import Alerts, Report

# All signs that mean something in markdown. Of some, a reader might still make markup when they
# stand behind a backslash; these are written by their numbers.
_SIGNS = re.compile(r"[!#$&()*+\-.:<=>@\[\\\]^_`{|}~]")
_BY_NUMBER = "&<>|\\`"


def as_markdown(report: Report) -> str:
    """The report's verdict, the model's figures, and the path of its page."""
    rows = [
        [LABELS[key], shown(figure.value, key=key), shown_interval(figure.interval, key=key)]
        for key, figure in report.model.by_name.items()
    ]
    lines = [
        f"# {MODEL} on {escape(report.dataset)}",
        "",
        escape(report.verdict),
        "",
        *table([MODEL, "value", "95 %"], rows),
        "",
        f"The whole report: {escape(str(report.page))}",
    ]
    return "\n".join(lines) + "\n"


def alert_rows(alerts: Alerts | None) -> list[Row]:
    """The alert types for a table whose cells are read as markdown, as those of Prefect are."""
    rows = figures_as_text.alert_rows(alerts)
    return [row | {"alert": escape(str(row["alert"]))} for row in rows]


def escape(text: str) -> str:
    """Text that shows as it stands, in markdown and in the HTML that is made of it."""
    plain = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)
    return _SIGNS.sub(_harmless, plain.strip())  # four spaces would begin a block of code


def _harmless(match: re.Match[str]) -> str:
    sign = match[0]
    return f"&#{ord(sign)};" if sign in _BY_NUMBER else f"\\{sign}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table whose first column is text, and the others figures; cells are markdown already."""
    head = [f"| {' | '.join(columns)} |", "|".join(["", "---", *["---:"] * (len(columns) - 1), ""])]
    return [*head, *(f"| {' | '.join(row)} |" for row in rows)]
