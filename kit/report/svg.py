"""A plot as it goes into a page: colours that follow the page, text in its language, ids of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape

from kit.report.colours import LIGHT

_IDS = re.compile(r'(\bid="|xlink:href="#|url\(#)')


def inline(svg: str, name: str, *, title: str, label: Callable[[str], str]) -> str:
    """The <svg> element of a file that matplotlib wrote, for a page that has `colours` as variables.

    `name` goes before every id, so that several plots can share a page; `title` says what is to be seen;
    `label` gives a text of the plot in the page's language.
    """
    body = svg[svg.index("<svg") :]
    body = _IDS.sub(rf"\g<1>{name}-", body)
    for colour, value in LIGHT.items():
        body = body.replace(value, f"var(--{colour})")
    body = re.sub(r">([^<>]+)</text>", lambda text: f">{_translated(text[1], label)}</text>", body)
    view = re.search(r'viewBox="([^"]+)"', body)
    opening = (
        f'<svg class="plot" id="{name}-plot" viewBox="{view[1] if view else ""}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><title>{escape(title)}</title>'
    )
    return opening + body[body.index(">") + 1 :]


def _translated(text: str, label: Callable[[str], str]) -> str:
    """`text` is escaped already; what the catalogue says of it is not."""
    said = label(unescape(text))
    return text if said == unescape(text) else escape(said, quote=False)
