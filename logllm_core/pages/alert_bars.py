"""The picture of recall by alert type."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from logllm_core.pages.svg import ACCENT, CARD, DIM, HALF, INK, as_svg, visible
from logllm_core.results import MODEL
from logllm_core.results.figures import ToStrongest
from logllm_core.results.report import Alerts, AlertType

MAX_ALERT_TYPES = 24  # as bars; the page's table has all


def alert_recall(alerts: Alerts, differences: ToStrongest) -> str:
    """Recall by alert type: the model's as bars, the strongest other detector's as marks."""
    types = alerts.types[:MAX_ALERT_TYPES]
    other = differences.f1.detector if differences.f1 else None

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        _bars(axes, types)
        if other:
            _marks(axes, types, other)
        _rows(axes, types)
        bars, names = axes.get_legend_handles_labels()
        handles = [bars[i] for i in sorted(range(len(bars)), key=lambda i: names[i] == other)]
        figure.legend(handles=handles, loc="outside upper left", borderaxespad=0.2)

    label = f"Recall by alert type, {len(types)} types"
    return as_svg("alert-recall", label, (HALF, 0.26 * len(types) + 1.3), plot)


def _bars(axes: Axes, types: Sequence[AlertType]) -> None:
    """Full ones for types that training knows, hatched ones for the others."""
    for is_seen, name in ((True, "type seen in training"), (False, "new type")):
        rows = [row for row, kind in enumerate(types) if kind.is_in_training == is_seen]
        if not rows:
            continue
        axes.barh(
            rows,
            [types[row].recall.get(MODEL) or 0 for row in rows],
            height=0.62,
            facecolor=ACCENT if is_seen else "none",
            edgecolor=ACCENT,
            hatch=None if is_seen else "/////",
            label=f"{MODEL}, {name}",
        )


def _marks(axes: Axes, types: Sequence[AlertType], other: str) -> None:
    recalls = [kind.recall.get(other) for kind in types]
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


def _rows(axes: Axes, types: Sequence[AlertType]) -> None:
    """A row a type: its name on the left, how many windows hold it on the right."""
    axes.set_yticks(range(len(types)), [visible(kind.alert, 18) for kind in types])
    for row, kind in enumerate(types):
        count = f"{kind.num_test_windows:,}"
        axes.annotate(count, (1.1, row), ha="right", va="center", annotation_clip=False)
    axes.annotate("windows", (1.1, -0.85), ha="right", color=DIM, fontsize=8, annotation_clip=False)
    axes.set(xlim=(0, 1), ylim=(len(types) - 0.4, -0.6), xlabel="recall")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
