"""Pages made of templates, in which nothing of what is told is taken for HTML, or steers how a line reads."""

from __future__ import annotations

import json
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from werkzeug import Response

from ..clock import in_words, rfc3339
from ..report.lines import counted
from ..report.words import moment_in_words, on_clock
from ..visible import visible_line
from .assets import version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo
    from typing import Any

    from .asked import Asked, Page


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dracotask.console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_shown, auto_reload=False,
    )  # fmt: skip
    environment.filters.update(when=when, words=in_words, clock=clock, minute=minute, short=short)
    environment.globals.update(counted=counted, version=version)
    return environment


def _shown(value: Any) -> Any:
    """Return what a template is to show of a value; Markup, which is made here, stands as it is."""
    if value is None:
        return ""
    return visible_line(value) if type(value) is str else value


def render(page: Page, asked: Asked) -> Response:
    """Return the answer that a page is."""
    template = _environment().get_template(page.template)
    text = template.render(
        **page.facts, links=asked.links, visitor=asked.visitor, may_write=asked.may_write, now=asked.now,
        zone=asked.zone, docroot=asked.desk.docroot, asked=asked,
    )  # fmt: skip
    # (JSON may bring half of a character, which is none in UTF-8.)
    return Response(text.encode("utf-8", "backslashreplace"), page.status, headers=page.headers, mimetype="text/html")


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that a value is, for machines."""
    # In ASCII, and with no "<": whatever takes it for a page finds nothing in it to obey.
    text = json.dumps(value, indent=1).replace("<", "\\u003c")
    return Response(f"{text}\n", status, headers=headers, mimetype="application/json")


# -- Filters -----------------------------------------------------------------------------------


def iso(moment: datetime) -> str:
    return rfc3339(moment.replace(microsecond=0))


def clock(moment: datetime, zone: tzinfo) -> str:
    """Return a moment in full on the site's clock."""
    return f"{on_clock(moment, zone):%Y-%m-%d %H:%M:%S %Z}"


def minute(moment: datetime, zone: tzinfo) -> str:
    """Return the same to the minute: what tells the seconds makes another page of each look at it."""
    return f"{on_clock(moment, zone):%Y-%m-%d %H:%M %Z}"


def when(moment: datetime | None, now: datetime, zone: tzinfo) -> str | Markup:
    """Return a moment in short, with the whole of it for whoever points at it."""
    if moment is None:
        return ""
    words = moment_in_words(moment.replace(microsecond=0), now, zone)
    return _time(moment, words, zone)


def _time(moment: datetime, words: str, zone: tzinfo) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(moment), clock(moment, zone), words)


def short(text: str | None, letters: int) -> str:
    """Return the beginning of a text."""
    text = text or ""
    return text if len(text) <= letters else f"{text[: letters - 1].rstrip()}…"
