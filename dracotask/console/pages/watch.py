"""Watch: what machines ask for that keep an eye on the site. ``/metrics`` for Prometheus, ``/health`` for anybody."""

from __future__ import annotations

import hmac
import os
from time import monotonic

from werkzeug import Response
from werkzeug.exceptions import Forbidden, NotFound

from ...alerts import in_plain
from ...errors import ConfigError, DracotaskError, StoreBusy, StoreMissing
from ...keys import token
from ...metrics import exposition
from ...report.health import BROKEN, BUSY, NOBODY, UNUSABLE, Health, Trouble, examine
from ..access import complain
from ..render import as_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..asked import Asked

#: What is true now goes into no cache: neither a browser's nor a proxy's.
_FRESH = {"Cache-Control": "no-store"}

#: So long (seconds) each process answers with the health that it has found.
GOOD_FOR = 3.0

#: So long one request may look while the others are answered with what was found before.
LONGEST_LOOK = 15.0

#: So long one that looks at the health waits for a store that is locked.
PATIENCE = 2.0

#: So many sites are remembered in one process.
MOST_SITES = 100

_CLOSED = (
    "Metrics are for visitors who are signed in, and for whoever sends the metrics_token of dracotask.toml:"
    " Authorization: Bearer TOKEN\n"
)


# -- Who may look ------------------------------------------------------------------------------


def may_look(asked: Asked) -> bool:
    """Tell whether this is a visitor of the console, or a machine that has the site's ``metrics_token``."""
    return asked.visitor is not None or _has_token(asked)


def _has_token(asked: Asked) -> bool:
    scheme, _, said = asked.request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    wanted = _wanted_token(asked)
    # (As bytes: of text hmac compares no other than ASCII. PEP 3333 hands bytes over as latin-1.)
    return wanted is not None and hmac.compare_digest(said.strip().encode("latin-1", "replace"), wanted.encode())


def _wanted_token(asked: Asked) -> str | None:
    config = asked.desk.config
    try:
        said = config.metrics_token
        return None if said is None else in_plain(said, {**os.environ, **config.environment()}, token)
    except (ConfigError, ValueError) as error:
        complain(f"metrics_token cannot be used, so nobody comes in by it: {error}")
        return None


# -- Metrics -----------------------------------------------------------------------------------


def metrics(asked: Asked) -> Response:
    """Return what there is to count and to measure, as Prometheus reads it."""
    if not may_look(asked):
        return Response(_CLOSED, 401, headers={"WWW-Authenticate": 'Bearer realm="dracotask"', **_FRESH})
    with asked.reading() as store:
        text, kind = exposition(asked.desk, store, asked.now, accept=asked.request.headers.get("Accept", ""))
    return Response(text, content_type=kind, headers=_FRESH)


# -- Health ------------------------------------------------------------------------------------


class Remembered:
    """The health of sites as it was found in this process a moment ago: strangers may ask as often as they like."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._found: dict[str, tuple[Health, float]] = {}
        self._clock = clock

    def health(self, site: str, look: Callable[[], Health], busy: Health) -> Health:
        """Return the health of a site.

        One request looks at a time. Meanwhile the others get what was found before, or ``busy`` if nothing was. (There
        is no lock in this: a fork would tear it, and two that look at once do no harm.)
        """
        now = self._clock()
        health, good_until = self._found.get(site, (busy, now))
        if now < good_until:
            return health
        if len(self._found) >= MOST_SITES:
            self._found.clear()
        self._found[site] = health, now + LONGEST_LOOK
        try:
            health = look()
        except BaseException:
            self._found.pop(site, None)
            raise
        self._found[site] = health, self._clock() + GOOD_FOR
        return health


_remembered = Remembered()


def health(asked: Asked) -> Response:
    """Return whether all is well: with 200 if it is, and 503 if not. Whoever may look is told what is wrong."""
    known = may_look(asked)
    name = asked.word("task")
    if name and not known:
        raise Forbidden("How a single task does is told to those who may look.")
    busy = Health(asked.now, [Trouble(BUSY, "somebody else is looking, and has not come to an end")])
    found = _remembered.health(asked.desk.state.path, lambda: _look(asked), busy)
    if name:
        found = _of_one(found, name)
    status = 200 if found.is_well else 503
    if asked.word("format") != "json":
        return Response(f"{found.word}\n", status, mimetype="text/plain", headers=_FRESH)
    return as_json(found.as_json() if known else {"health": found.word}, status, headers=_FRESH)


def _of_one(found: Health, name: str) -> Health:
    if found.names is not None and name not in found.names:
        raise NotFound("There is no task of that name, or it is gone from the file.")
    return found.of(name)


def _look(asked: Asked) -> Health:
    try:
        with asked.reading(patience=PATIENCE) as store:
            return examine(asked.desk, store, asked.now)
    except StoreMissing as error:
        trouble = Trouble(NOBODY, str(error))
    except StoreBusy:
        trouble = Trouble(BUSY, "the store is locked, and whoever has it does not let go")
    except ConfigError as error:
        trouble = Trouble(BROKEN, str(error))
    except (DracotaskError, OSError) as error:
        trouble = Trouble(UNUSABLE, str(error))
    return Health(asked.now, [trouble])
