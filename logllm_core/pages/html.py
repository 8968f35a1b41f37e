"""What the pages share: one file each that needs no network, their filters and their policy.

Log text is hostile: the templates escape everything, and should that ever fail, the page's own
policy lets no script run but the one written here, which it names by its hash.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from logllm_core.pages.figures_as_text import shown_threshold
from logllm_core.pages.svg import visible
from logllm_core.results.shown_windows import ShownLine

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TEMPLATES = Path(__file__).parent / "templates"
SCRIPT = "report.js"
STYLES = ("report.css", "windows.css")
PREPROCESSINGS = {"regex": "masked by regular expressions", "none": "as logged"}


def render_page(
    template: str,
    content: "DataclassInstance",
    pictures: Mapping[str, str],
    more: Mapping[str, object],
    *,
    folder: Path = TEMPLATES,
) -> str:
    """The HTML page; every text is escaped, the pictures are our own SVG.

    Args:
        template: its name in the folder; it extends `page.html.j2`, which lies here.
        content: what the template shows, field by field.
        pictures: SVG by name, as `svg.as_svg` makes them.
        more: by name, what it shows beside these.
    """
    script, style = _source(SCRIPT), "\n".join(map(_source, STYLES))
    return (
        _environment(folder)
        .get_template(template)
        .render(
            **{part.name: getattr(content, part.name) for part in fields(content)},
            **more,
            pictures={name: Markup(picture) for name, picture in pictures.items()},  # noqa: S704
            script=Markup(script),  # noqa: S704
            style=Markup(style),  # noqa: S704
            policy=policy(script),
        )
    )


def policy(script: str) -> str:
    """The Content-Security-Policy of a page with this one script: nothing is fetched or sent."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _environment(folder: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "alarms": lambda value: "undefined" if value is None else f"{value:,.1f}",
        "count": lambda value: "unknown" if value is None else f"{value:,}",
        "figure": figure,
        "gigabytes": lambda size: f"{size / 1e9:.2f}" if size else "none",
        "log_text": visible,
        "num_left": num_left,
        "percent": percent,
        "plain": plain,
        "rows": lambda settings: list(flattened(settings)),
        "seconds": lambda value: f"{value:,.1f}",
        "threshold": shown_threshold,
        "tinted": tinted,
        "signed": lambda value: f"{value:+.3f}".replace("-", "\N{MINUS SIGN}"),
        "preprocessing": lambda name: PREPROCESSINGS.get(name, "Drain's templates"),
    }
    environment.filters |= filters
    environment.tests["web_address"] = lambda text: str(text).startswith(("https://", "http://"))
    return environment


def figure(value: float | None) -> str:
    """A rate, to three places."""
    return "undefined" if value is None else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def percent(part: float | None, whole: float = 1) -> str:
    """A share in per cent, with enough places to tell a small one from none."""
    if part is None or not whole:
        return "undefined"
    share = 100 * part / whole
    num_places = 0 if share in (0, 100) else 1 if share >= 1 else 2
    return f"{share:.{num_places}f} %"


def plain(value: object) -> str:
    """A setting's value, as a person writes it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def flattened(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of nested settings; a stage's as `stages.NAME.setting`."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for number, entry in enumerate(value):
                yield from flattened(entry, f"{prefix}{key}.{entry.get('name', number)}.")
        else:
            yield prefix + key, plain(value)


def tinted(lines: Sequence[ShownLine]) -> list[tuple[ShownLine, float]]:
    """Each line with its tint: its contribution as a share of the greatest."""
    contributions = [max(line.contribution or 0.0, 0.0) for line in lines]
    greatest = max(contributions, default=0.0)
    return [
        (line, round(share / greatest, 2) if greatest else 0.0)
        for line, share in zip(lines, contributions, strict=True)
    ]


def num_left(lines: Sequence[ShownLine], num_lines: int) -> int:
    """How many lines of a window come after the last that is shown."""
    return num_lines - len(lines) - sum(line.num_skipped for line in lines)
