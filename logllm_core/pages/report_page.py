"""The report's page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logllm_core.pages import MODEL
from logllm_core.pages.charts import MAX_ALERT_TYPES
from logllm_core.pages.figures_as_text import rounding_sentence, seed_choice
from logllm_core.pages.html import render_page, tinted

# The kinds of windows in the order of the page; what it calls several, and what one is.
KINDS = {
    "missed": ("Missed", "anomalous, and no alarm"),
    "false alarm": ("False alarms", "normal, and an alarm"),
    "found": ("Found", "anomalous, and an alarm"),
    "passed": ("Passed", "normal, and no alarm"),
}


def render(content: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The HTML page.

    Args:
        content: the report, as in report.json.
        pictures: SVG by name, as `charts.draw` makes them.
    """
    shown = {
        **content,
        "max_alert_types": MAX_ALERT_TYPES,
        "model_name": MODEL,
        "model": content["detectors"][MODEL],
        "seed_choice": seed_choice(content["seeds"]),
        "groups": list(_groups(content)),
        "rounding_sentence": rounding_sentence(content),
        "alert_names": _alert_names(content["windows"]),
    }
    return render_page("report.html.j2", shown, pictures)


def _groups(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The windows by kind, each line with how strongly it is tinted."""
    for kind, (title, meaning) in KINDS.items():
        yield {
            "kind": kind,
            "name": kind.replace(" ", "-"),
            "title": title,
            "meaning": meaning,
            **content["confusion"][kind],
            "windows": [tinted(w) for w in content["windows"] if w["kind"] == kind],
        }


def _alert_names(windows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """The alert types of the windows shown, with how many of them hold each."""
    return sorted(Counter(name for window in windows for name in window["alerts"]).items())
