"""The report's pictures, as SVG that takes its colours from the page (light and dark)."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from logllm_core.detection import DECISION
from logllm_core.evaluation.metrics import Labels, Scores, measure
from logllm_core.store import Artifact

# Drawn in these colours, then replaced by the page's own.
_PAGE_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--faint)",
    "#030303": "var(--accent)",
    "#040404": "var(--alarm)",
}
_INK, _FAINT, _ACCENT, _ALARM = _PAGE_COLOURS
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "logllm",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.4,
    "legend.frameon": False,
}
MAX_POINTS = 4_000  # of the timeline; beyond, quiet normal windows are thinned evenly


def precision_recall(is_anomalous: Labels, scores: Mapping[str, Scores], model: str) -> str:
    """The model's curve, its fixed decision, and each baseline's as a point."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        axes = figure.subplots()
        if 0 < is_anomalous.sum() < len(is_anomalous):
            precision, recall, _ = precision_recall_curve(is_anomalous, scores[model])
            axes.step(recall, precision, where="post", color=_ACCENT, linewidth=1.8, label=model)
        markers = iter("sD^vP*X<>")
        for name, found in scores.items():
            figures = measure(is_anomalous, found)
            if figures.precision is None or figures.recall is None:
                continue
            is_model = name == model
            axes.plot(
                [figures.recall],
                [figures.precision],
                "o" if is_model else next(markers),
                color=_ACCENT if is_model else _INK,
                markerfacecolor=_ACCENT if is_model else "none",
                label=f"{model}, the more likely answer" if is_model else name,
                clip_on=False,
                zorder=3,
            )
        axes.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
        axes.legend(loc="lower left", fontsize=7.5)
        return _svg(figure)


def probability_over_time(is_anomalous: Labels, scores: Scores) -> str:
    """Each test window's probability, in log order; true anomalies stand out."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.4, 2.5), layout="constrained")
        axes = figure.subplots()
        normal = np.flatnonzero(~is_anomalous)
        is_alarm = scores[normal] > DECISION
        quiet = normal[~is_alarm]
        quiet = quiet[:: max(1, len(quiet) // MAX_POINTS)]
        normal = np.union1d(quiet, normal[is_alarm])
        anomalous = np.flatnonzero(is_anomalous)
        axes.plot(normal, scores[normal], ".", color=_FAINT, markersize=4, label="normal")
        axes.plot(anomalous, scores[anomalous], "o", color=_ALARM, markersize=4, label="anomalous")
        axes.axhline(DECISION, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set(ylim=(-0.03, 1.03), xlabel="test window, in log order", ylabel="probability")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0, fontsize=8.5)
        axes.margins(x=0.01)
        return _svg(figure)


def losses(stages: Sequence[tuple[str, Artifact]]) -> str:
    """Loss of each optimiser step, stage after stage."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        axes = figure.subplots()
        start = 0
        for name, stage in stages:
            rows = (stage.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            values = [json.loads(row)["loss"] for row in rows]
            steps = np.arange(start, start + len(values))
            axes.plot(steps, values, color=_FAINT, linewidth=0.8)
            width = max(1, len(values) // 20)
            smooth = np.convolve(values, np.ones(width) / width, mode="valid")
            axes.plot(steps[width - 1 :], smooth, color=_ACCENT, linewidth=1.8)
            axes.annotate(
                name, (start, 1), (3, -8), ("data", "axes fraction"), "offset points", fontsize=8.5
            )
            axes.axvline(start, color=_FAINT, linewidth=0.8)
            start += len(values)
        axes.set(xlabel="optimiser step, by stage", ylabel="loss", yscale="log")
        return _svg(figure)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    for drawn, wanted in _PAGE_COLOURS.items():
        text = text.replace(drawn, wanted)
    return text
