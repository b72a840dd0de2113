"""How objects show themselves in notebooks: a small table, in the notebook's own colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_CELL = "padding:2px 10px;text-align:{};border:none;background:none;color:inherit"


def html_table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> str:
    """Return a table as HTML, all text escaped; ``numbers`` are the columns set to the right."""
    from html import escape

    right = set(numbers)

    def line(tag: str, cells: Sequence[str]) -> str:
        styles = (_CELL.format("right" if i in right else "left") for i in range(len(cells)))
        styled = (
            f'<{tag} style="{style}">{escape(cell)}</{tag}>'
            for style, cell in zip(styles, cells, strict=True)
        )
        return f"<tr>{''.join(styled)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return (
        f"<div><div>{escape(caption)}</div>"
        '<table style="border-collapse:collapse;color:inherit">'
        f"<thead>{line('th', heads)}</thead><tbody>{body}</tbody></table></div>"
    )
