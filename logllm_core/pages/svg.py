"""SVG by matplotlib, made fit to stand in a page: its colours, ids and links."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Drawn in these colours, then replaced by the page's own.
_PAGE_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--rule)",
    "#030303": "var(--accent)",
    "#040404": "var(--alarm)",
    "#050505": "var(--quiet)",
    "#060606": "var(--card)",
    "#070707": "var(--dim)",
}
INK, RULE, ACCENT, ALARM, QUIET, CARD, DIM = _PAGE_COLOURS
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "logllm",
    "text.parse_math": False,  # an alert may be named $1
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": DIM,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.linewidth": 0.9,
}
HALF, WHOLE = 4.6, 9.4  # inches: one of two pictures beside each other, and one alone
_CONTROLS = {code: 0x2400 + code for code in range(32) if code != 9} | {0x7F: 0x2421}
_DIRECTIONS = dict.fromkeys(
    [0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
_SHOWN_CODES: dict[int, int | str] = {
    **_CONTROLS,
    **{code: f"⟨U+{code:04X}⟩" for code in _DIRECTIONS},
    # Of the further controls some are read as a terminal's escapes, and none has a picture.
    **dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], "\N{REPLACEMENT CHARACTER}"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Where a mark of a picture leads, and what a pointer that rests on it is told."""

    target: str
    title: str


def visible(text: str, max_characters: int | None = None) -> str:
    """The text with a picture for each control character, and marks of direction spelt out.

    Log text is hostile: it may hold a terminal's escapes, or turn the reading direction of what
    stands beside it (Unicode TR 36, section 2.10). Half a surrogate pair has no UTF-8 at all.
    """
    shown = text.translate(_SHOWN_CODES)
    if max_characters is not None and len(shown) > max_characters:
        shown = shown[: max_characters - 1] + "…"
    return shown


def as_svg(
    name: str,
    label: str,
    size: tuple[float, float],
    plot: Callable[[Figure], None],
    *,
    links: Sequence[Link] = (),
) -> str:
    """What `plot` draws, as an <svg> element for an HTML page.

    Args:
        name: unique in the page; the element's ids begin with it.
        label: what the picture shows, for those who do not see it.
        size: width and height, in inches.
        links: of the marks that `plot` gave an url.
    """
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The page's own fonts draw the text; what the measuring one lacks does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        plot(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return _with_links(_fit_for_page(text[text.index("<svg") :], name, label), links)


def mark(
    shape: str, edge: str, face: str, label: str, *, size: float = 6, width: float = 1.1
) -> Line2D:
    """A mark without a place, for a key or to be put somewhere."""
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=shape,
        markersize=size,
        markeredgecolor=edge,
        markerfacecolor=face,
        markeredgewidth=width,
        label=label,
        zorder=4 if face == "none" else 3,
    )


def _fit_for_page(text: str, name: str, label: str) -> str:
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>\n?", "", text, count=1, flags=re.DOTALL)
    # A style element would be the whole page's.
    text = re.sub(r"<style[^>]*>.*?</style>\n?", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"<[^>]*>", lambda match: _fit_tag(match[0], name), text)
    return text.replace("<svg", f'<svg role="img" aria-label={quoteattr(label)}', 1)


def _fit_tag(tag: str, name: str) -> str:
    """Only tags are changed; what the log says between them stays."""
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = tag.replace("url(#", f"url(#{name}-")
    tag = re.sub(r'xlink:href="#(?!window-)', f'href="#{name}-', tag)
    for drawn, wanted in _PAGE_COLOURS.items():
        tag = tag.replace(drawn, wanted)
    return tag


def _with_links(text: str, links: Sequence[Link]) -> str:
    """Hundreds of links: a pointer reaches them, Tab passes them by."""
    titles = {link.target: link.title for link in links}

    def link(match: re.Match[str]) -> str:
        target = match[1]
        return f'<a tabindex="-1" href="{target}"><title>{escape(titles[target])}</title>'

    return re.sub(r'<a xlink:href="(#window-\d+)"[^>]*>', link, text)
