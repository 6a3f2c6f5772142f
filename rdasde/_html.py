"""How nouns show themselves in a notebook: a small table."""

from __future__ import annotations

import html
from collections.abc import Mapping


def card(title: str, rows: Mapping[str, object]) -> str:
    """A title, and a row for each entry; everything is escaped."""
    lines = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<div><b>{html.escape(title)}</b><table>{lines}</table></div>"
