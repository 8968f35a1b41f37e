"""The report's page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from logllm_core.pages.alert_bars import MAX_ALERT_TYPES
from logllm_core.pages.figures_as_text import rounding_sentence, seed_choice
from logllm_core.pages.html import render_page
from logllm_core.results import MODEL
from logllm_core.results.report import Report
from logllm_core.results.shown_windows import ShownCounts, ShownWindow, WindowKind

# The kinds of windows in the order of the page; what it calls several, and what each is.
KINDS: Mapping[WindowKind, tuple[str, str]] = {
    "missed": ("Missed", "anomalous, and no alarm"),
    "false alarm": ("False alarms", "normal, and an alarm"),
    "found": ("Found", "anomalous, and an alarm"),
    "passed": ("Passed", "normal, and no alarm"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _WindowsOfKind:
    """A list of windows on the page."""

    kind: WindowKind
    name: str  # in addresses
    title: str
    meaning: str
    counts: ShownCounts
    windows: Sequence[ShownWindow]


def render(report: Report, pictures: Mapping[str, str]) -> str:
    """The HTML page.

    Args:
        pictures: SVG by name, as `charts.draw` makes them.
    """
    more = {
        "max_alert_types": MAX_ALERT_TYPES,
        "model_name": MODEL,
        "model": report.model,
        "seed_choice": seed_choice(report.seeds),
        "groups": list(_groups(report)),
        "rounding_sentence": rounding_sentence(report.scoring),
        "alert_names": _alert_names(report.windows),
    }
    return render_page("report.html.j2", report, pictures, more)


def _groups(report: Report) -> Iterator[_WindowsOfKind]:
    for kind, (title, meaning) in KINDS.items():
        yield _WindowsOfKind(
            kind=kind,
            name=kind.replace(" ", "-"),
            title=title,
            meaning=meaning,
            counts=report.confusion[kind],
            windows=[window for window in report.windows if window.kind == kind],
        )


def _alert_names(windows: Sequence[ShownWindow]) -> list[tuple[str, int]]:
    """The alert types of the windows shown, with how many of them hold each."""
    return sorted(Counter(name for window in windows for name in window.alerts).items())
