"""What keeps a page within a window of any width, checked without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser

NARROW = 340
"""CSS pixels that a telephone leaves for a page's content."""

_VOID = {"meta", "img", "br", "hr", "input", "link", "path", "use", "rect", "circle"}
_PIXELS = {"px": 1.0, "rem": 16.0, "em": 16.0, "pt": 4 / 3, "vw": 100.0}


def faults(page: str) -> list[str]:
    """Return what in an HTML page could be wider than a narrow window."""
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL))
    found = [f"style: {fault}" for fault in _fixed_widths(styles)]
    for selector, rule in (
        (r"\.scroll", r"overflow-x:\s*auto"),
        (r"body", r"overflow-wrap:"),
        (r"figure\.panel svg", r"width:\s*100%"),
        (r"ul\.pictures img", r"width:\s*100%"),
    ):
        if not re.search(rf"(?:^|\}})\s*{selector}\s*\{{[^}}]*{rule}", styles):
            found.append(f"style: no rule {selector} {{ {rule} }}")
    reader = _Reader()
    reader.feed(page)
    return found + reader.found


def _fixed_widths(style: str) -> list[str]:
    widths = re.findall(r"(?<![-\w])((?:min-)?width):\s*([\d.]+)(px|rem|em|pt|vw)\b", style)
    media = re.sub(r"@media[^{]*", "", style)  # conditions are not widths of anything
    return [
        f"{name}: {number}{unit}"
        for name, number, unit in widths
        if float(number) * _PIXELS[unit] > NARROW and f"{name}: {number}{unit}" in media
    ]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, set[str]]] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        classes = set(given.get("class", "").split())
        around = set[str]().union(*(names for _, names in self.open), classes)
        if tag == "pre" and "scroll" not in around:
            self.found.append("<pre> outside a box that scrolls")
        if tag == "table" and not around & {"scroll", "stack"}:
            self.found.append(f"<table class={sorted(classes)}> neither scrolls nor stacks")
        if tag == "svg" and ("width" in given or "panel" not in around):
            self.found.append("<svg> with a width of its own")
        if tag == "img" and "pictures" not in around:
            self.found.append("<img> without a rule for its width")
        self.found += [f"<{tag}> {fault}" for fault in _fixed_widths(given.get("style", ""))]
        if tag not in _VOID:
            self.open.append((tag, classes))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass  # shapes within a drawing

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass
