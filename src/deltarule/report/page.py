"""What all reports share: the page, its colours, and figures that follow them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from deltarule.report import figures


class Panel(NamedTuple):
    """A figure of the report: inline SVG, what it says in words, and its caption."""

    title: str
    svg: Markup
    description: str
    caption: str


def render(template: str, **values: Any) -> str:
    """Return the text of a page; what a template does not find is an error."""
    environment = Environment(
        loader=PackageLoader("deltarule.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    palette = list(zip(_VARIABLES, _PALETTE, strict=True))
    return environment.get_template(template).render(palette=palette, **values)


_PALETTE = (figures.INK, figures.MUTED, figures.GRID, *figures.SERIES)
_VARIABLES = ("ink", "muted", "grid", *(f"series-{i}" for i in range(len(figures.SERIES))))


def themed_svg(figure: Figure, name: str) -> Markup:
    """Return inline SVG whose colours follow the page's and whose ids are its own."""
    text = figures.svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    # Only what is referred to keeps its id; several figures share a page.
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(
        r' id="([^"]+)"',
        lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "",
        text,
    )
    text = re.sub(r'(url\(#|href="#)', rf"\1{name}-", text)
    for variable, colour in zip(_VARIABLES, _PALETTE, strict=True):
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"([^>]*?)width="[^"]*"', r"<svg \1\2", text, count=1)
    return Markup(text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1))
