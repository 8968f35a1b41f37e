"""The report's pictures, as SVG that takes its colours from the page (light and dark)."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from sklearn.metrics import precision_recall_curve

from logllm_core.pages import MODEL
from logllm_core.pages.figures_as_text import shown, shown_threshold
from logllm_core.pages.svg import (
    ACCENT,
    ALARM,
    CARD,
    DIM,
    HALF,
    INK,
    QUIET,
    RULE,
    as_svg,
    mark,
    visible,
)
from logllm_core.pages.timeline import Labels, Scores, probability_over_time
from logllm_core.scoring import DECISION

MAX_ALERT_TYPES = 24  # as bars; the page's table has all
_MARKERS = "s^v<>pPXh*"


def draw(
    content: Mapping[str, Any],
    *,
    is_anomalous: Labels,
    scores: Mapping[str, Scores],
    stages: Sequence[tuple[str, Path]],
    window_ids: Sequence[int],
    times: Sequence[datetime | None],
) -> dict[str, str]:
    """The pictures of a report, by name.

    Args:
        content: the report, as in report.json.
        is_anomalous: the labels of the test windows, in log order.
        scores: by detector, of the same windows.
        stages: name and folder (with metrics.jsonl) of each training stage.
        window_ids: of each test window; those that the page shows are linked.
        times: when each test window starts.
    """
    found = {
        "curve": precision_recall(content, is_anomalous, scores[MODEL]),
        "curve_key": curve_key(content),
        "timeline": probability_over_time(
            content,
            is_anomalous,
            scores[MODEL],
            times,
            window_ids,
        ),
        "losses": losses(stages),
        "reliability": reliability(content["calibration"]),
    }
    if content["alerts"] and content["alerts"]["types"]:
        found["alert_recall"] = alert_recall(content)
    return found


def precision_recall(content: Mapping[str, Any], is_anomalous: Labels, scores: Scores) -> str:
    """The model's curve with its two decisions marked, and each other detector as a point."""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        _equal_f1_lines(axes)
        if 0 < is_anomalous.sum() < len(is_anomalous):
            precision, recall, _ = precision_recall_curve(
                is_anomalous, scores, drop_intermediate=True
            )
            axes.step(recall, precision, where="post", color=ACCENT, linewidth=1.8, clip_on=False)
        for line, found in _curve_marks(content):
            if found["precision"] is not None and found["recall"] is not None:
                line.set_data([found["recall"]], [found["precision"]])
                line.set_clip_on(False)
                axes.add_line(line)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", aspect="equal")

    model = content["detectors"][MODEL]
    label = f"Precision against recall of {MODEL}; PR-AUC {shown(model['pr_auc'])}"
    return as_svg("curve", label, (HALF, 4.4), plot)


def curve_key(content: Mapping[str, Any]) -> str:
    """What the marks of the curve mean; a picture of its own, so that it can stand below it."""
    curve = Line2D([], [], color=ACCENT, linewidth=1.8, label=f"{MODEL} at every threshold")
    marks = [curve, *(line for line, _ in _curve_marks(content))]

    def plot(figure: Figure) -> None:
        figure.legend(
            handles=marks,
            loc="upper left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0,
            borderpad=0,
            labelspacing=0.75,
            handlelength=1.6,
        )

    names = ", ".join(str(mark.get_label()) for mark in marks)
    return as_svg("curve-key", f"Key of the curve: {names}", (3.95, 0.25 * len(marks) + 0.1), plot)


def _curve_marks(content: Mapping[str, Any]) -> list[tuple[Line2D, Mapping[str, Any]]]:
    """A mark of each decision that the curve shows, with its figures."""
    marks = []
    shapes = cycle(_MARKERS)
    own = content["detectors"][MODEL]
    chosen = own["at_validation_threshold"]
    for name, detector in content["detectors"].items():
        if name != MODEL:
            line = mark(next(shapes), INK, "none", name)
            marks.append((line, detector["at_decision"]))
    if chosen:
        label = f"threshold {shown_threshold(chosen['threshold'])}, chosen on validation"
        marks.insert(0, (mark("D", ACCENT, CARD, label, size=7, width=1.8), chosen))
    label = f"threshold {DECISION}, the more likely answer"
    marks.insert(0, (mark("o", CARD, ACCENT, label, size=9, width=1.2), own["at_decision"]))
    return marks


def _equal_f1_lines(axes: Axes) -> None:
    """Faint lines on which F1 is the same: precision = F1 recall / (2 recall - F1)."""
    axes.grid(visible=False)
    for value in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(value / (2 - value), 1, 60)
        precision = value * recall / (2 * recall - value)
        axes.plot(recall, precision, color=RULE, linewidth=0.8, zorder=1)
        place = (1.0, value / (2 - value))
        axes.annotate(
            f"F1 {value}",
            place,
            (4, 0),
            textcoords="offset points",
            fontsize=7.5,
            color=DIM,
            va="center",
        )


def losses(stages: Sequence[tuple[str, Path]]) -> str:
    """Loss of each optimiser step, stage after stage, with its running mean."""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        start = 0
        for name, folder in stages:
            rows = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            values = [json.loads(row)["loss"] for row in rows]
            if not values:
                continue
            steps = np.arange(start, start + len(values))
            axes.plot(steps, values, color=QUIET, linewidth=0.6)
            width = max(1, len(values) // 20)
            smooth = np.convolve(values, np.ones(width) / width, mode="valid")
            axes.plot(steps[width - 1 :], smooth, color=ACCENT, linewidth=1.8)
            axes.axvline(start, color=RULE, linewidth=0.8)
            at = ("data", "axes fraction")
            axes.annotate(name, (start, 1), (2, 3), at, "offset points", fontsize=8.5, color=DIM)
            start += len(values)
        axes.set(xlabel="optimiser step, by stage", ylabel="loss", yscale="log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())

    return as_svg("losses", "Training loss by optimiser step", (HALF, 3.4), plot)


def reliability(calibration: Mapping[str, Any]) -> str:
    """What share of windows was anomalous where the model said so much, and how many they were."""
    bins = calibration["bins"]
    held = [entry for entry in bins if entry["num_windows"]]

    def plot(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=DIM, linewidth=0.9, linestyle=(0, (4, 3)))
        means = [entry["mean_probability"] for entry in held]
        shares = [entry["anomalous_fraction"] for entry in held]
        upper.vlines(means, means, shares, color=ALARM, linewidth=1.2)
        upper.plot(means, shares, "o-", color=ACCENT, linewidth=1.2, markersize=5, clip_on=False)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share anomalous")
        places = [(entry["low"] + entry["high"]) / 2 for entry in held]
        counts = [entry["num_windows"] for entry in held]
        lower.bar(places, counts, width=0.085, color=QUIET, linewidth=0)
        for place, count in zip(places, counts, strict=True):
            at = (place, count)
            lower.annotate(
                f"{count:,}", at, (0, 2), textcoords="offset points", ha="center", fontsize=7
            )
        if counts:
            lower.set_yscale("log")
            lower.set_ylim(0.5, max(counts) * 8)
        lower.set(xlabel="probability of the model, in tenths", ylabel="windows (log)", yticks=[])
        lower.minorticks_off()
        lower.grid(visible=False)

    label = f"Reliability curve; expected calibration error {shown(calibration['ece'])}"
    return as_svg("reliability", label, (HALF, 4.2), plot)


def alert_recall(content: Mapping[str, Any]) -> str:
    """Recall by alert type: the model's as bars, the strongest other detector's as marks."""
    types = content["alerts"]["types"][:MAX_ALERT_TYPES]
    strongest = content["differences"]["f1"]
    other = strongest["detector"] if strongest else None
    plot = _alert_bars(types, other)
    label = f"Recall by alert type, {len(types)} types"
    return as_svg("alert-recall", label, (HALF, 0.26 * len(types) + 1.3), plot)


def _alert_bars(types: Sequence[Mapping[str, Any]], other: str | None) -> Callable[[Figure], None]:
    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for is_seen, name in ((True, "type seen in training"), (False, "new type")):
            rows = [row for row, kind in enumerate(types) if kind["is_in_training"] == is_seen]
            if not rows:
                continue
            axes.barh(
                rows,
                [types[row]["recall"].get(MODEL) or 0 for row in rows],
                height=0.62,
                facecolor=ACCENT if is_seen else "none",
                edgecolor=ACCENT,
                hatch=None if is_seen else "/////",
                label=f"{MODEL}, {name}",
            )
        if other:
            recalls = [kind["recall"].get(other) for kind in types]
            axes.plot(
                [np.nan if recall is None else recall for recall in recalls],
                range(len(types)),
                "D",
                markersize=5,
                markeredgecolor=INK,
                markerfacecolor=CARD,
                label=other,
                clip_on=False,
            )
        axes.set_yticks(range(len(types)), [visible(kind["alert"], 18) for kind in types])
        for row, kind in enumerate(types):
            count = f"{kind['num_test_windows']:,}"
            axes.annotate(count, (1.1, row), ha="right", va="center", annotation_clip=False)
        axes.annotate(
            "windows", (1.1, -0.85), ha="right", color=DIM, fontsize=8, annotation_clip=False
        )
        axes.set(xlim=(0, 1), ylim=(len(types) - 0.4, -0.6), xlabel="recall")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        bars, names = axes.get_legend_handles_labels()
        order = sorted(range(len(bars)), key=lambda place: names[place] == other)
        handles = [bars[place] for place in order]
        figure.legend(handles=handles, loc="outside upper left", borderaxespad=0.2)

    return plot
