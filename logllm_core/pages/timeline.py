"""The pictures of windows in order: a test split's, and those of new logs."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from logllm_core.pages import MODEL
from logllm_core.pages.figures_as_text import shown_threshold
from logllm_core.pages.svg import ACCENT, ALARM, INK, QUIET, WHOLE, Link, as_svg, mark
from logllm_core.scoring import DECISION

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]

MAX_POINTS = 4_000  # of either kind; beyond, they are thinned evenly
NUM_TIME_TICKS = 7


def probability_over_time(
    content: Mapping[str, Any],
    is_anomalous: Labels,
    scores: Scores,
    times: Sequence[datetime | None],
    window_ids: Sequence[int],
) -> str:
    """Each test window's probability, in log order; true anomalies differ in shape and colour."""
    shown = {window["window_id"]: window for window in content["windows"]}
    places = {place: int(name) for place, name in enumerate(window_ids) if int(name) in shown}
    links = [
        Link(
            target=f"#window-{name}",
            title=f"window {name}, {shown[name]['kind']}, probability {scores[place]:.3f}",
        )
        for place, name in places.items()
    ]

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for wanted, shape, colour, size in ((False, "o", QUIET, 9), (True, "D", ALARM, 20)):
            found = np.flatnonzero(is_anomalous == wanted)
            linked = [place for place in places if is_anomalous[place] == wanted]
            plain = _thinned(found, scores, linked)
            axes.plot(plain, scores[plain], shape, color=colour, markersize=size**0.5, mew=0)
            urls = [f"#window-{places[place]}" for place in linked]
            axes.scatter(
                linked, scores[linked], s=size, marker=shape, color=colour, linewidths=0, zorder=3
            ).set_urls(urls)
        _thresholds(axes, content)
        _time_ticks(axes, times)
        axes.set(ylim=(-0.04, 1.04), ylabel="probability")
        axes.set_xlim(-0.01 * len(scores) - 1, 1.01 * len(scores))
        axes.grid(visible=False, axis="x")
        figure.legend(
            handles=[
                mark("o", QUIET, QUIET, "normal", size=4),
                mark("D", ALARM, ALARM, "anomalous", size=4.5),
                *axes.get_legend_handles_labels()[0],
            ],
            loc="outside upper left",
            ncols=4,
            columnspacing=1.8,
        )

    label = f"Probability of each of {len(scores):,} test windows in log order"
    return as_svg("timeline", label, (WHOLE, 2.9), plot, links=links)


def _thinned(places: NDArray[np.intp], scores: Scores, drawn: Sequence[int]) -> NDArray[np.intp]:
    """At most MAX_POINTS of them, those drawn already left out; alarms stay before quiet ones."""
    places = np.setdiff1d(places, np.asarray(drawn, np.intp))
    is_alarm = scores[places] > DECISION
    alarms, quiet = places[is_alarm], places[~is_alarm]
    alarms = alarms[:: -(-len(alarms) // (MAX_POINTS // 2)) or 1]
    quiet = quiet[:: -(-len(quiet) // (MAX_POINTS // 2)) or 1]
    return np.union1d(alarms, quiet)


def _thresholds(axes: Axes, content: Mapping[str, Any]) -> None:
    label = f"{DECISION}, the more likely answer"
    axes.axhline(DECISION, color=INK, linewidth=0.9, linestyle=(0, (5, 3)), label=label)
    chosen = content["detectors"][MODEL]["at_validation_threshold"]
    if chosen:
        label = f"{shown_threshold(chosen['threshold'])}, chosen on validation"
        axes.axhline(chosen["threshold"], color=ACCENT, linewidth=1.2, linestyle=":", label=label)


def _time_ticks(axes: Axes, times: Sequence[datetime | None]) -> None:
    """Ticks at windows; labelled with their start where they have one."""
    known = [time for time in times if time is not None]
    places = np.unique(np.linspace(0, max(len(times) - 1, 0), NUM_TIME_TICKS).astype(int))
    if not known or not len(times):
        axes.set_xlabel("test window, in log order")
        return
    style = _time_style(max(known) - min(known))
    at = [times[place] for place in places]
    labels = [
        f"{place:,}" if time is None else f"{time:{style}}"
        for place, time in zip(places, at, strict=True)
    ]
    axes.set_xticks(places, labels)
    axes.set_xlabel("test window, in log order, with the time of its first line")


def _time_style(span: timedelta) -> str:
    """What of a time tells the ticks of such a span apart."""
    style = "%Y-%m-%d" if span > timedelta(days=6) else "%m-%d %H:%M"
    return "%H:%M:%S" if span < timedelta(hours=6) else style


def alarms_over_time(drawn: Mapping[str, Any], alarms: Sequence[Mapping[str, Any]]) -> str:
    """How many windows of new logs were called anomalous, and how many there were, by time.

    Args:
        drawn: when the first and the last of the windows begin, and the counts of each bar.
        alarms: those that the page shows, newest first; a bar leads to its first.
    """
    first, span = drawn["first"], drawn["last"] - drawn["first"]
    num_bars = len(drawn["num_windows"])
    width = max(span, timedelta(seconds=1)) / num_bars
    starts = [first + place * width for place in range(num_bars)]
    leads: dict[int, str] = {}
    for alarm in alarms:
        time = alarm["start_time"]
        if time is not None and first <= time <= drawn["last"]:
            place = min((time - first) // width, num_bars - 1)
            leads.setdefault(place, f"#window-{alarm['anchor']}")
    links = [
        Link(
            target=target,
            title=f"from {starts[place]:%Y-%m-%d %H:%M:%S}: {drawn['num_anomalous'][place]:,} of "
            f"{drawn['num_windows'][place]:,} windows called anomalous",
        )
        for place, target in leads.items()
    ]

    def plot(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        places = np.arange(num_bars)
        bars = upper.bar(places, drawn["num_anomalous"], width=0.86, color=ALARM, linewidth=0)
        for place, target in leads.items():
            bars[place].set_url(target)
        lower.bar(places, drawn["num_windows"], width=0.86, color=QUIET, linewidth=0)
        for axes, label in ((upper, "anomalous"), (lower, "windows")):
            axes.set_ylabel(label)
            axes.grid(visible=False, axis="x")
            axes.set_ylim(0, max(axes.get_ylim()[1], 1))
            axes.yaxis.set_major_locator(MaxNLocator(4 if axes is upper else 2, integer=True))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        lower.set_xlim(-1, num_bars)
        ticks = np.linspace(-0.5, num_bars - 0.5, NUM_TIME_TICKS)
        style = _time_style(span)
        lower.set_xticks(ticks, [f"{first + (tick + 0.5) * width:{style}}" for tick in ticks])
        lower.set_xlabel("first line of the window, by the log's own time")
        figure.align_ylabels()

    label = (
        f"{sum(drawn['num_anomalous']):,} anomalous of {sum(drawn['num_windows']):,} windows, from "
        f"{first:%Y-%m-%d %H:%M:%S} to {drawn['last']:%Y-%m-%d %H:%M:%S}"
    )
    return as_svg("alarms", label, (WHOLE, 2.9), plot, links=links)
