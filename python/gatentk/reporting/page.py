"""Pages that need nothing but themselves: the templates, and plots to put into them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from gatentk.extras import imports
from gatentk.reporting.style import VARIABLES

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


def template(name: str) -> Template:
    """One of the templates beside this module; what it is given is escaped, and nothing may be missing."""
    with imports("cli", "report"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def inline_svg(svg: bytes, prefix: str) -> Markup:
    """An SVG to put into a page: unique ids, colours from the page's style, width from its place.

    Made by matplotlib from numbers and escaped text, it needs no further escaping.
    """
    from markupsafe import Markup

    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true"', text, count=1)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'xlink:href="#', f'href="#{prefix}', text)
    text = re.sub(r"url\(#", f"url(#{prefix}", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return Markup(text)
