"""The pictures of windows in order: a test split's, and those of new logs."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from logllm_core.pages.figures_as_text import shown_threshold
from logllm_core.pages.judged_windows import Bars, ListedAlarm
from logllm_core.pages.svg import ACCENT, ALARM, INK, QUIET, WHOLE, Link, as_svg, mark
from logllm_core.results.report import Report
from logllm_core.scoring import DECISION

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]

MAX_POINTS = 4_000  # of either kind; beyond, they are thinned evenly
NUM_TIME_TICKS = 7


def probability_over_time(
    report: Report,
    is_anomalous: Labels,
    scores: Scores,
    *,
    times: Sequence[datetime | None],
    window_ids: Sequence[int],
) -> str:
    """Each test window's probability, in log order; true anomalies differ in shape and colour."""
    kinds = {window.window_id: window.kind for window in report.windows}
    linked = {number: int(name) for number, name in enumerate(window_ids) if int(name) in kinds}
    links = [
        Link(
            target=f"#window-{name}",
            title=f"window {name}, {kinds[name]}, probability {scores[number]:.3f}",
        )
        for number, name in linked.items()
    ]

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        _points(axes, is_anomalous, scores, linked)
        _thresholds(axes, report)
        _time_ticks(axes, times)
        axes.set(ylim=(-0.04, 1.04), ylabel="probability")
        axes.set_xlim(-0.01 * len(scores) - 1, 1.01 * len(scores))
        axes.grid(visible=False, axis="x")
        handles = [
            mark("o", QUIET, QUIET, "normal", size=4),
            mark("D", ALARM, ALARM, "anomalous", size=4.5),
            *axes.get_legend_handles_labels()[0],
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.8)

    label = f"Probability of each of {len(scores):,} test windows in log order"
    return as_svg("timeline", label, (WHOLE, 2.9), plot, links=links)


def _points(axes: Axes, is_anomalous: Labels, scores: Scores, linked: Mapping[int, int]) -> None:
    """A mark a window; those that the page shows lead there.

    Args:
        linked: the names of these windows, by their numbers in the split.
    """
    for wanted, shape, colour, size in ((False, "o", QUIET, 9), (True, "D", ALARM, 20)):
        leading = [number for number in linked if is_anomalous[number] == wanted]
        plain = _thinned(np.flatnonzero(is_anomalous == wanted), scores, leading)
        axes.plot(plain, scores[plain], shape, color=colour, markersize=size**0.5, mew=0)
        axes.scatter(
            leading, scores[leading], s=size, marker=shape, color=colour, linewidths=0, zorder=3
        ).set_urls([f"#window-{linked[number]}" for number in leading])


def _thinned(windows: NDArray[np.intp], scores: Scores, drawn: Sequence[int]) -> NDArray[np.intp]:
    """At most MAX_POINTS of them, those drawn already left out; alarms stay before quiet ones."""
    windows = np.setdiff1d(windows, np.asarray(drawn, np.intp))
    is_alarm = scores[windows] > DECISION
    alarms, quiet = windows[is_alarm], windows[~is_alarm]
    alarms = alarms[:: -(-len(alarms) // (MAX_POINTS // 2)) or 1]
    quiet = quiet[:: -(-len(quiet) // (MAX_POINTS // 2)) or 1]
    return np.union1d(alarms, quiet)


def _thresholds(axes: Axes, report: Report) -> None:
    label = f"{DECISION}, the more likely answer"
    axes.axhline(DECISION, color=INK, linewidth=0.9, linestyle=(0, (5, 3)), label=label)
    if chosen := report.model.at_validation_threshold:
        label = f"{shown_threshold(chosen.threshold)}, chosen on validation"
        axes.axhline(chosen.threshold, color=ACCENT, linewidth=1.2, linestyle=":", label=label)


def _time_ticks(axes: Axes, times: Sequence[datetime | None]) -> None:
    """Ticks at windows; labelled with their start where they have one."""
    known = [time for time in times if time is not None]
    ticks = np.unique(np.linspace(0, max(len(times) - 1, 0), NUM_TIME_TICKS).astype(int))
    if not known or not len(times):
        axes.set_xlabel("test window, in log order")
        return
    style = _time_style(max(known) - min(known))
    labels = [
        f"{number:,}" if (time := times[number]) is None else f"{time:{style}}" for number in ticks
    ]
    axes.set_xticks(ticks, labels)
    axes.set_xlabel("test window, in log order, with the time of its first line")


def _time_style(span: timedelta) -> str:
    """What of a time tells the ticks of such a span apart."""
    style = "%Y-%m-%d" if span > timedelta(days=6) else "%m-%d %H:%M"
    return "%H:%M:%S" if span < timedelta(hours=6) else style


def alarms_over_time(bars: Bars, alarms: Sequence[ListedAlarm]) -> str:
    """How many windows of new logs were called anomalous, and how many there were, by time.

    Args:
        alarms: those that the page shows, newest first; a bar leads to its first.
    """
    leads: dict[int, str] = {}
    for alarm in alarms:
        if alarm.start_time is not None and bars.first <= alarm.start_time <= bars.last:
            leads.setdefault(bars.bar_of(alarm.start_time), f"#window-{alarm.anchor}")
    links = [
        Link(
            target=target,
            title=f"from {bars.start_of(bar):%Y-%m-%d %H:%M:%S}: {bars.num_anomalous[bar]:,} of "
            f"{bars.num_windows[bar]:,} windows called anomalous",
        )
        for bar, target in leads.items()
    ]

    def plot(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        drawn = _bars(upper, bars.num_anomalous, "anomalous", ALARM, num_ticks=4)
        for bar, target in leads.items():
            drawn[bar].set_url(target)
        _bars(lower, bars.num_windows, "windows", QUIET, num_ticks=2)
        ticks = np.linspace(-0.5, len(bars.num_windows) - 0.5, NUM_TIME_TICKS)
        style = _time_style(bars.last - bars.first)
        lower.set_xlim(-1, len(bars.num_windows))
        lower.set_xticks(ticks, [f"{bars.start_of(tick + 0.5):{style}}" for tick in ticks])
        lower.set_xlabel("first line of the window, by the log's own time")
        figure.align_ylabels()

    label = (
        f"{sum(bars.num_anomalous):,} anomalous of {sum(bars.num_windows):,} windows, from "
        f"{bars.first:%Y-%m-%d %H:%M:%S} to {bars.last:%Y-%m-%d %H:%M:%S}"
    )
    return as_svg("alarms", label, (WHOLE, 2.9), plot, links=links)


def _bars(
    axes: Axes, counts: Sequence[int], label: str, colour: str, *, num_ticks: int
) -> BarContainer:
    drawn = axes.bar(np.arange(len(counts)), counts, width=0.86, color=colour, linewidth=0)
    axes.set_ylabel(label)
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0, max(axes.get_ylim()[1], 1))
    axes.yaxis.set_major_locator(MaxNLocator(num_ticks, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return drawn
