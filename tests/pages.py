"""The console for tests, without a browser: a store that is filled by hand, and HTML that is taken apart strictly.

:class:`Html` refuses whatever a browser would have to mend, and whatever the console must never send: something inline,
an address elsewhere, a field without a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Self
from wsgiref.validate import validator

import pytest
from helpers import NOON, a_run, a_schedule, an_action, ended, stored
from werkzeug.test import Client, TestResponse

from dracotask.console.app import Console
from dracotask.model import Action, Run, Schedule
from dracotask.site import Site
from dracotask.state import State
from dracotask.stores.base import Store

ANNA = ("write", "anna")

#: What the browser says of a form of ours.
SENT_HERE = {"Sec-Fetch-Site": "same-origin"}

# -- HTML --------------------------------------------------------------------------------------

VOID = {"link", "meta", "input", "br", "hr", "img"}

#: What ends by itself when one of these begins, or when that around it ends (HTML, 13.1.2.4).
ENDS_BEFORE = {
    "li": {"li"},
    "dt": {"dt", "dd"},
    "dd": {"dt", "dd"},
    "tr": {"tr", "tbody"},
    "th": {"th", "td", "tr", "tbody"},
    "td": {"th", "td", "tr", "tbody"},
    "option": {"option"},
    "p": {
        "p", "div", "ul", "ol", "dl", "table", "form", "section", "pre", "h1", "h2", "details", "nav", "figure",
        "header", "main", "footer", "td", "th", "tr", "tbody", "li", "dt", "dd",
    },
}  # fmt: skip

#: Where these may stand.
PARENTS = {
    "li": {"ul", "ol"}, "dt": {"dl"}, "dd": {"dl"}, "tr": {"thead", "tbody"}, "th": {"tr"}, "td": {"tr"},
    "thead": {"table"}, "tbody": {"table"}, "option": {"select"}, "summary": {"details"}, "figcaption": {"figure"},
}  # fmt: skip

#: What holds nothing but words and what is written in a line.
PHRASING_ONLY = {"p", "h1", "h2", "span", "b", "a", "small", "button", "label", "pre", "summary", "code", "time", "i"}
BLOCKS = ENDS_BEFORE["p"] | {"figcaption"}

#: None of these within another one of them.
INTERACTIVE = {"a", "button", "label", "select", "summary"}

_START_TAG = re.compile(r"<[a-z][a-z0-9]*(?: [a-zA-Z-]+(?:=\"[^\"<>]*\"|=[a-z0-9-]+)?)* ?/?>")
_ELSEWHERE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:|//|\\)", re.IGNORECASE)
_ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' "


class Element:
    """An element of a page, with what is in it."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: Element | None) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.content: list[Element | str] = []

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    @property
    def text(self) -> str:
        """All that is to be read in it, its white space as one reads it."""
        return " ".join("".join(self.strings()).split())

    def strings(self) -> Iterator[str]:
        for each in self.content:
            if isinstance(each, str):
                yield each
            else:
                yield " " if each.tag in BLOCKS else ""
                yield from each.strings()

    def elements(self) -> Iterator[Element]:
        yield self
        for each in self.content:
            if isinstance(each, Element):
                yield from each.elements()

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Return the elements within of that tag and with these attributes, ``class_`` being one of the classes."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [each for each in self.elements() if each.tag == tag and each._has(wanted)]

    def the(self, tag: str, **attributes: str) -> Element:
        """Return the one element of that kind."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, (tag, attributes, [each.text for each in found])
        return found[0]

    def _has(self, wanted: dict[str, str]) -> bool:
        return all(
            value in self.attributes.get(name, "").split() if name == "class" else self.attributes.get(name) == value
            for name, value in wanted.items()
        )

    def parents(self) -> Iterator[Element]:
        parent = self.parent
        while parent is not None:
            yield parent
            parent = parent.parent


class Html(HTMLParser):
    """A page, taken apart by rules that leave nothing to be mended.

    :raises AssertionError: it breaks one of them.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.root = Element("", {}, None)
        self._at = self.root
        assert text.startswith("<!doctype html>\n")
        self.feed(text)
        self.close()
        assert self._at is self.root, f"<{self._at.tag}> has no end"
        self._check_ids()
        self._check_fields()
        self._check_tables()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.root, name)

    # -- Taking apart ----------------------------------------------------------------------

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        written = self.get_starttag_text() or ""
        assert _START_TAG.fullmatch(written), f"An attribute is not written as ours are: {written!r:.200}"
        while self._at.tag in ENDS_BEFORE and tag in ENDS_BEFORE[self._at.tag]:
            self._at = self._at.parent or self.root
        names = [name for name, _ in attrs]
        assert len({*names}) == len(names), f"An attribute is said twice: {written}"
        element = Element(tag, {name: value or "" for name, value in attrs}, self._at)
        self._check_place(element)
        self._check_attributes(element)
        self._at.content.append(element)
        if tag not in VOID and not written.endswith("/>"):
            self._at = element

    def handle_endtag(self, tag: str) -> None:
        while self._at.tag != tag and self._at.tag in ENDS_BEFORE:
            self._at = self._at.parent or self.root
        assert self._at.tag == tag, f"</{tag}> ends <{self._at.tag}>, line {self.getpos()[0]}"
        self._at = self._at.parent or self.root

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        assert "<" not in data and ">" not in data and "&" not in data, f"Not escaped: {data!r:.200}"
        assert not data.strip() or self._at.tag not in (
            "",
            "html",
            "head",
            "script",
            "style",
            "table",
            "tr",
            "ul",
            "dl",
        )
        self._at.content.append(data)

    def handle_entityref(self, name: str) -> None:
        assert name in ("amp", "lt", "gt"), f"&{name}; is not how we write it"
        self._at.content.append({"amp": "&", "lt": "<", "gt": ">"}[name])

    def handle_charref(self, name: str) -> None:
        assert name in ("34", "39"), f"&#{name}; is not how we write it"
        self._at.content.append(chr(int(name)))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"a processing instruction: {data!r}")

    def handle_decl(self, decl: str) -> None:
        assert decl == "doctype html"

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data!r}")

    # -- Rules -----------------------------------------------------------------------------

    def _check_place(self, element: Element) -> None:
        tag, parent = element.tag, element.parent
        assert parent is not None
        if tag in PARENTS:
            assert parent.tag in PARENTS[tag], f"<{tag}> within <{parent.tag}>"
        assert not (tag in BLOCKS and parent.tag in PHRASING_ONLY), f"<{tag}> within <{parent.tag}>"
        around = [each.tag for each in element.parents()]
        assert not (tag == "form" and "form" in around), "a form within a form"
        assert not (tag in INTERACTIVE and {*around} & INTERACTIVE - {"label"}), f"<{tag}> within {around}"
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag

    def _check_attributes(self, element: Element) -> None:
        """Nothing inline, and no address elsewhere."""
        for name, value in element.attributes.items():
            assert name != "style" and not name.startswith("on"), f"{name}= is inline"
            if name in ("href", "src", "action", "formaction", "poster", "data", "srcset", "ping", "xlink:href"):
                is_icon = element["rel"] == "icon" if element.tag == "link" else False
                assert not _ELSEWHERE.match(value) or (is_icon and value.startswith(_ICON)), f"{name}={value!r:.200}"
        if element.tag == "script":
            assert element.attributes.keys() == {"src", "defer"}
        if element.tag == "meta":
            assert "http-equiv" not in element.attributes

    def _check_ids(self) -> None:
        ids = [each["id"] for each in self.root.elements() if "id" in each.attributes]
        assert len({*ids}) == len(ids), f"an id is there twice: {ids}"
        for each in self.root.elements():
            for name in ("for", "aria-labelledby", "aria-describedby", "aria-controls", "data-copy"):
                assert {*each.attributes.get(name, "").split()} <= {*ids}
            assert not each.attributes.get("href", "").startswith("#") or each["href"][1:] in ids

    def _check_fields(self) -> None:
        """Every field has a label, and every button words."""
        for each in self.root.elements():
            if each.tag in ("input", "select", "textarea") and each.attributes.get("type") != "hidden":
                label = next((parent for parent in each.parents() if parent.tag == "label"), None)
                assert (label is not None and label.text) or each.attributes.get("aria-label"), each.attributes
            if each.tag in ("a", "button", "summary"):
                assert each.text or each.attributes.get("aria-label"), each.attributes

    def _check_tables(self) -> None:
        for table in self.root.all("table"):
            (head,) = table.the("thead").all("tr")
            columns = len(head.all("th"))
            for row in table.the("tbody").all("tr"):
                assert len(row.all("th") + row.all("td")) == columns, row.text
            assert all(each.attributes.get("scope") == "col" for each in head.all("th"))

    # -- What a page shows -----------------------------------------------------------------

    @property
    def title(self) -> str:
        return self.root.the("title").text

    @property
    def main(self) -> Element:
        return self.root.the("main")

    def rows(self, class_: str = "") -> list[list[str]]:
        """Return the words of the cells of a table, its head left out."""
        table = self.main.the("table", **({"class_": class_} if class_ else {}))
        return [
            [cell.text for cell in row.content if isinstance(cell, Element)] for row in table.the("tbody").all("tr")
        ]

    def facts(self) -> dict[str, str]:
        """Return what the list of facts says, by its labels."""
        listed = [each for each in self.root.the("dl").content if isinstance(each, Element)]
        return {label.text: value.text for label, value in zip(listed[::2], listed[1::2], strict=True)}


# -- The site ----------------------------------------------------------------------------------


class Asking(Client):
    """Asks an application, with the referee of PEP 3333 in between."""

    def __init__(self, app: Any) -> None:
        super().__init__(validator(app))

    def open(self, *arguments: Any, **options: Any) -> TestResponse:
        # (To its end, and closed: else the referee complains.)
        return super().open(*arguments, **{"buffered": True, **options})


class Filled:
    """A docroot whose store is filled by hand, and its console, of which anna may do anything.

    The console's clock stands at ``now``.
    """

    def __init__(self, docroot: Path, monkeypatch: pytest.MonkeyPatch, now: datetime = NOON) -> None:
        self.docroot, self.now = docroot, now
        docroot.mkdir(exist_ok=True)
        self.monkeypatch = monkeypatch
        self.at(now)
        self.client = self.client_of(lambda environ: ANNA)

    def at(self, now: datetime) -> None:
        """Set the clock."""
        self.now = now
        for module in ("console.asked", "report.shown"):
            self.monkeypatch.setattr(f"dracotask.{module}.utc_now", lambda: now)

    def prepare(self) -> Self:
        """Make the state folder and an empty store, as the first look does."""
        Site(str(self.docroot)).prepare()
        Site(str(self.docroot)).open_store().close()
        return self

    def configure(self, *lines: str) -> Self:
        (self.docroot / "dracotask.toml").write_text("\n".join(lines) + "\n")
        return self

    @property
    def state(self) -> State:
        return Site(str(self.docroot)).state

    @contextmanager
    def store(self) -> Iterator[Store]:
        with Site(str(self.docroot)).open_store() as store:
            yield store

    def schedule(self, name: str = "Report", **facts: Any) -> Schedule:
        with self.store() as store:
            return stored(store, a_schedule(name, **facts))

    def run(self, name: str = "Report", **facts: Any) -> Run:
        """Put a Run into the store as it is."""
        run = a_run(name, **facts)
        with self.store() as store:
            store.add_run(run)
        return run

    def ended(self, name: str = "Report", *, run: dict[str, Any] | None = None, **facts: Any) -> Run:
        with self.store() as store:
            return ended(store, a_run(name, **(run or {})), **facts)

    def action(self, schedule: str | None = "Report", **facts: Any) -> Action:
        action = an_action(schedule, **facts)
        with self.store() as store:
            store.add_action(action)
        return action

    def output(self, run: Run, text: str | bytes, attempt: int = 1) -> None:
        path = Path(self.state.output_file(run.id, attempt))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    # -- Asking ----------------------------------------------------------------------------

    def client_of(self, authorize: Any) -> Asking:
        return Asking(Console(str(self.docroot), authorize=authorize))

    def get(self, address: str = "/", status: int = 200, **options: Any) -> TestResponse:
        answer = self.client.get(address, **options)
        assert answer.status_code == status, answer.text
        return answer

    def page(self, address: str = "/", status: int = 200, **options: Any) -> Html:
        answer = self.get(address, status, **options)
        assert answer.content_type == "text/html; charset=utf-8"
        return Html(answer.text)

    def json(self, address: str, status: int = 200, **options: Any) -> Any:
        answer = self.get(address, status, **options)
        assert answer.content_type == "application/json"
        return answer.json

    def post(self, address: str = "/", **form: str) -> TestResponse:
        return self.client.post(address, data=form, headers=SENT_HERE)
