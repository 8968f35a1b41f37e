"""The report's pictures, as SVG that takes its colours from the page (light and dark)."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from sklearn.metrics import precision_recall_curve

from logllm_core.pages.alert_bars import alert_recall
from logllm_core.pages.figures_as_text import shown, shown_threshold
from logllm_core.pages.svg import ACCENT, ALARM, CARD, DIM, HALF, INK, QUIET, RULE, as_svg, mark
from logllm_core.pages.timeline import Labels, Scores, probability_over_time
from logllm_core.results import MODEL
from logllm_core.results.figures import ThresholdFigures
from logllm_core.results.report import Calibration, Report
from logllm_core.scoring import DECISION

_MARKERS = "s^v<>pPXh*"


def draw(
    report: Report,
    *,
    is_anomalous: Labels,
    scores: Scores,
    stages: Sequence[tuple[str, Path]],
    window_ids: Sequence[int],
    times: Sequence[datetime | None],
) -> dict[str, str]:
    """The pictures of a report, by name.

    Args:
        is_anomalous: the labels of the test windows, in log order.
        scores: the model's, of the same windows.
        stages: name and folder (with metrics.jsonl) of each training stage.
        window_ids: of each test window; those that the page shows are linked.
        times: when each test window starts.
    """
    pictures = {
        "curve": precision_recall(report, is_anomalous, scores),
        "curve_key": curve_key(report),
        "timeline": probability_over_time(
            report, is_anomalous, scores, times=times, window_ids=window_ids
        ),
        "losses": losses(stages),
        "reliability": reliability(report.calibration),
    }
    if report.alerts and report.alerts.types:
        pictures["alert_recall"] = alert_recall(report.alerts, report.differences)
    return pictures


def precision_recall(report: Report, is_anomalous: Labels, scores: Scores) -> str:
    """The model's curve with its two decisions marked, and each other detector as a point."""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        _equal_f1_lines(axes)
        if 0 < is_anomalous.sum() < len(is_anomalous):
            precision, recall, _ = precision_recall_curve(
                is_anomalous, scores, drop_intermediate=True
            )
            axes.step(recall, precision, where="post", color=ACCENT, linewidth=1.8, clip_on=False)
        for line, figures in _curve_marks(report):
            if figures.precision.value is not None and figures.recall.value is not None:
                line.set_data([figures.recall.value], [figures.precision.value])
                line.set_clip_on(False)
                axes.add_line(line)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", aspect="equal")

    label = f"Precision against recall of {MODEL}; PR-AUC {shown(report.pr_auc.value)}"
    return as_svg("curve", label, (HALF, 4.4), plot)


def curve_key(report: Report) -> str:
    """What the marks of the curve mean; a picture of its own, so that it can stand below it."""
    curve = Line2D([], [], color=ACCENT, linewidth=1.8, label=f"{MODEL} at every threshold")
    marks = [curve, *(line for line, _ in _curve_marks(report))]

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


def _curve_marks(report: Report) -> list[tuple[Line2D, ThresholdFigures]]:
    """A mark of each decision that the curve shows, with its figures."""
    label = f"threshold {DECISION}, the more likely answer"
    decided = mark("o", CARD, ACCENT, label, size=9, width=1.2)
    marks = [(decided, report.model.at_decision)]
    if chosen := report.model.at_validation_threshold:
        label = f"threshold {shown_threshold(chosen.threshold)}, chosen on validation"
        marks.append((mark("D", ACCENT, CARD, label, size=7, width=1.8), chosen))
    others = [name for name in report.detectors if name != MODEL]
    for name, shape in zip(others, cycle(_MARKERS), strict=False):
        marks.append((mark(shape, INK, "none", name), report.detectors[name].at_decision))
    return marks


def _equal_f1_lines(axes: Axes) -> None:
    """Faint lines on which F1 is the same: precision = F1 recall / (2 recall - F1)."""
    axes.grid(visible=False)
    for value in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(value / (2 - value), 1, 60)
        precision = value * recall / (2 * recall - value)
        axes.plot(recall, precision, color=RULE, linewidth=0.8, zorder=1)
        end = (1.0, value / (2 - value))
        axes.annotate(
            f"F1 {value}",
            end,
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


def reliability(calibration: Calibration) -> str:
    """What share of windows was anomalous where the model said so much, and how many they were."""
    held = [bin_ for bin_ in calibration.bins if bin_.num_windows]

    def plot(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=DIM, linewidth=0.9, linestyle=(0, (4, 3)))
        means = np.array([bin_.mean_probability for bin_ in held])
        shares = np.array([bin_.anomalous_fraction for bin_ in held])
        upper.vlines(means, means, shares, color=ALARM, linewidth=1.2)
        upper.plot(means, shares, "o-", color=ACCENT, linewidth=1.2, markersize=5, clip_on=False)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share anomalous")
        middles = [(bin_.low + bin_.high) / 2 for bin_ in held]
        counts = [bin_.num_windows for bin_ in held]
        lower.bar(middles, counts, width=0.085, color=QUIET, linewidth=0)
        for at in zip(middles, counts, strict=True):
            lower.annotate(
                f"{at[1]:,}", at, (0, 2), textcoords="offset points", ha="center", fontsize=7
            )
        if counts:
            lower.set_yscale("log")
            lower.set_ylim(0.5, max(counts) * 8)
        lower.set(xlabel="probability of the model, in tenths", ylabel="windows (log)", yticks=[])
        lower.minorticks_off()
        lower.grid(visible=False)

    label = f"Reliability curve; expected calibration error {shown(calibration.ece)}"
    return as_svg("reliability", label, (HALF, 4.2), plot)
