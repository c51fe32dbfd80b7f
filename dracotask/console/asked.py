"""One request to the console, with all that a page needs to answer it."""

from __future__ import annotations

from contextlib import contextmanager
from urllib.parse import urlencode

from werkzeug.exceptions import BadRequest, Forbidden, NotFound

from ..clock import utc_now
from ..errors import BadTrigger, ControlError, RunNotFound, ScheduleNotFound, StoreMissing, TaskNotFound
from ..homes.site import SiteHome
from ..report.words import moment_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from werkzeug import Request

    from ..report.desk import Desk
    from ..stores.base import Store
    from .access import Access, Visitor
    from .drawings import Drawings
    from .signin import Throttle

#: Seconds that a page waits for a store that is locked: a visitor of the console waits no longer, nor does a worker.
PATIENCE = 5.0

#: What a verb raises that will not do what it is asked. (What else is wrong, as with the store, is no answer to that.)
REFUSALS = (ControlError, BadTrigger, ScheduleNotFound, TaskNotFound, RunNotFound, ValueError)

#: Who looks for what is due, in the words of the page's foot.
BY_WHOM = {"request": "a request", "tick": "the idle worker", "cron": "cron", "command": "hand"}

#: So many rows has a page of a list.
ROWS = 50


class Page:
    """What a template is to show.

    :param template: its name.
    :param status: of HTTP.
    :param headers: beside those that all answers have.
    :param facts: what it is handed by name.
    """

    def __init__(
        self, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **facts: Any
    ) -> None:
        self.template, self.status, self.headers, self.facts = template, status, headers or {}, facts


class Asked:
    """One request.

    :ivar visitor: who asks; None for somebody unknown.
    :ivar access: knows the visitors; with ``throttle``, which slows those down who only try.
    :ivar drawings: what was drawn for others.
    :ivar now: when; all of a page is told as of this moment.
    :ivar links: what leads elsewhere in the console.
    """

    def __init__(
        self,
        request: Request,
        desk: Desk,
        *,
        visitor: Visitor | None,
        access: Access,
        throttle: Throttle,
        drawings: Drawings,
    ) -> None:
        self.request, self.visitor, self.access = request, visitor, access
        self.throttle, self.drawings = throttle, drawings
        self.desk = desk
        self.now = utc_now()
        self.zone = self.desk.zone()
        self.links = Links(request.path)

    @property
    def may_write(self) -> bool:
        return self.visitor is not None and self.visitor.may_write

    def refuse_readers(self) -> None:
        """Let only those pass who may change something.

        :raises Forbidden: this visitor may not.
        """
        if not self.may_write:
            raise Forbidden("You may look at everything here, and change nothing.")

    def last_look(self) -> str:
        """Return who has looked last for what is due, for the foot of the page; "" where nobody ever did."""
        seen = self.desk.state.last_seen()
        if not seen:
            return ""
        looker, moment = max(seen.items(), key=lambda each: each[1])
        words = moment_in_words(moment.replace(second=0, microsecond=0), self.now, self.zone)
        return f" · last check {words}, by {BY_WHOM[looker]}"

    @contextmanager
    def reading(self, *, patience: float | None = None) -> Iterator[Store]:
        """Yield the open store.

        :param patience: seconds that it waits for a store that is locked; None for :data:`PATIENCE`.
        :raises StoreMissing: nobody has looked at the site yet.
        """
        self.desk.state.check_user()
        store = self.desk.site.open_store(create=False, patience=PATIENCE if patience is None else patience)
        try:
            yield store
        finally:
            store.close()

    def home(self) -> SiteHome:
        """Return the site's verbs, as used by this visitor."""
        name = self.visitor.name if self.visitor else None
        return SiteHome(self.desk.docroot, name or "the console", patience=PATIENCE)

    # -- What the request says -------------------------------------------------------------

    def word(self, name: str, longest: int = 200) -> str | None:
        """Return what the query says; None for nothing.

        :raises NotFound: more than could be meant.
        """
        text = self.request.args.get(name, "").strip()
        if len(text) > longest:
            raise NotFound(f"{name}= is too long.")
        return text or None

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a number of the query, within bounds; what is none counts as not said."""
        text = self.request.args.get(name, "")
        if not text.isascii() or not text.isdecimal() or len(text) > 18:
            return default
        return min(max(int(text), least), most)

    def field(self, name: str) -> str | None:
        """Return what a form says; None for nothing."""
        return self.request.form.get(name, "").strip() or None

    def filled_in(self, problem: str | None) -> dict[str, Any]:
        """Return which form of a page is open, ``ask``, and what stands in its fields, ``typed(form, field)``.

        :param problem: why what the form said could not be done: it need not be typed again.
        """
        ask = self.word("ask") if problem is None else self.field("do")
        said = {} if problem is None else self.request.form
        return {"ask": ask, "typed": lambda form, field: said.get(field, "") if form == ask else ""}


class Links:
    """The addresses of the console's pages, as seen from the page at hand.

    All are relative to it: so they are right under any mount, and behind a proxy that adds or takes away the beginning
    of a path, whether it says so or not.

    :param path: of the page at hand, below the mount: "/runs/01m7…".
    """

    def __init__(self, path: str) -> None:
        self._up = "../" * (path.count("/") - 1)

    def to(self, path: str, **query: object) -> str:
        said = {name: value for name, value in query.items() if value is not None}
        return (f"{self._up}{path}" or "./") + (f"?{urlencode(said)}" if said else "")

    def task(self, name: str, **query: object) -> str:
        """The page of a Schedule. A name that is no plain word, with a slash or "..", would not survive in a path."""
        if name.isidentifier() and name.isascii():
            return self.to(f"task/{name}", **query)
        return self.to("task", name=name, **query)

    def run(self, run_id: str, tail: str = "", **query: object) -> str:
        return self.to(f"runs/{run_id}{tail}", **query)


def answering(problem: str | None) -> dict[str, Any]:
    """Return how a :class:`Page` answers a form: that it could not be done, and why, or nothing of the sort.

    :param problem: why; None where there was no form, or it was done.
    """
    return {"status": 200, "problems": []} if problem is None else {"status": 409, "problems": [problem]}


class NothingSaid(BadRequest):
    """Raised when a form has none of the buttons that there are."""

    description = "The form says nothing that could be done."


def untouched(error: StoreMissing, asked: Asked) -> Page:
    """Return the page of a site that nobody has looked at yet."""
    return Page("untouched.html", command=asked.desk.command("load"), task_file=asked.desk.state.task_file)
