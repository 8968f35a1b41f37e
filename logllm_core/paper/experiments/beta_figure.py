"""The paper's Figure 4: what the share of the minority class does, as four small charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from logllm_core.pages.figures_as_text import LABELS
from logllm_core.pages.svg import ACCENT, CARD, QUIET, WHOLE, as_svg
from logllm_core.paper.experiments.ablation import AblationRow
from logllm_core.results.figures import Interval

RATES = ("precision", "recall", "f1")


def draw(rows: Sequence[AblationRow]) -> str:
    """SVG of precision, recall, F1 and training minutes against beta.

    Args:
        rows: of the group "beta". What was not run, and what is undefined, is left out.
    """

    def plot(figure: Figure) -> None:
        charts = figure.subplots(2, 2, sharex=True)
        for (row, column), name in zip(product(range(2), range(2)), RATES, strict=False):
            _chart(charts[row][column], _rates(rows, name))
            charts[row][column].set(ylim=(0, 1.03), ylabel=LABELS[name])
        minutes = charts[1][1]
        _chart(minutes, _minutes(rows))
        minutes.set(ylim=(0, None), ylabel="training, minutes")
        for chart in charts[1]:
            chart.set(xlabel="β, wanted share of the minority class")

    label = "Precision, recall, F1 and training minutes against beta"
    return as_svg("oversampling", label, (WHOLE, 5.4), plot)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Point:
    beta: float
    value: float
    interval: Interval | None
    is_recipe: bool


def _rates(rows: Sequence[AblationRow], name: str) -> list[_Point]:
    """Those that are defined."""
    return [
        _Point(beta=row.beta, value=value, interval=interval, is_recipe=row.is_recipe)
        for row in rows
        if row.beta is not None and row.figures is not None
        for value, interval in [(row.figures[name].value, row.figures[name].interval)]
        if value is not None
    ]


def _minutes(rows: Sequence[AblationRow]) -> list[_Point]:
    return [
        _Point(
            beta=row.beta, value=row.cost.training_minutes, interval=None, is_recipe=row.is_recipe
        )
        for row in rows
        if row.beta is not None and row.cost is not None
    ]


def _chart(axes: Axes, points: Sequence[_Point]) -> None:
    """A line through the points, their intervals, and a full mark for the recipe itself."""
    for point in points:
        if point.interval:
            upright = [point.beta, point.beta]
            axes.plot(upright, point.interval, color=QUIET, linewidth=1.2, zorder=2, clip_on=False)
    betas, values = [p.beta for p in points], [p.value for p in points]
    axes.plot(betas, values, color=ACCENT, linewidth=1.6, zorder=3)
    for point in points:
        axes.plot(
            [point.beta],
            [point.value],
            marker="o",
            markersize=6 if point.is_recipe else 5,
            markeredgecolor=ACCENT,
            markerfacecolor=ACCENT if point.is_recipe else CARD,
            zorder=4,
            clip_on=False,
        )
