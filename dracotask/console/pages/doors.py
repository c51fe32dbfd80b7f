"""The doors of the console: signing in with a link, and signing out."""

from __future__ import annotations

from werkzeug import Response
from werkzeug.exceptions import NotFound
from werkzeug.utils import redirect

from ..asked import Page
from ..session import cookie_for, no_cookie
from ..signin import TOKEN, is_open, redeem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..asked import Asked

_SPENT = "This link is good no more: it was used, or is older than ten minutes. Have another one printed."


def sign_in_page(asked: Asked) -> Page:
    """Show the button behind a link; to look does not use it up."""
    _refuse_links(asked)
    token = asked.request.args.get(TOKEN, "")
    if not is_open(asked.access.state, token, asked.now):
        return _spent(asked)
    return Page("sign_in.html", token=token, headers={"Cache-Control": "no-store"})


def sign_in(asked: Asked) -> Page | Response:
    """Use a link up, and let its bearer in."""
    _refuse_links(asked)
    state, mount = asked.access.state, asked.request.script_root
    grant = redeem(state, asked.request.form.get(TOKEN, ""), asked.now)
    if grant is None and asked.visitor is not None:
        return redirect(asked.links.to(""), 303)  # a second click on the button
    if grant is None:
        return _spent(asked)
    answer = redirect(asked.links.to(""), 303)
    answer.headers["Set-Cookie"] = cookie_for(grant, state, asked.request.environ, mount, asked.now)
    return answer


def _refuse_links(asked: Asked) -> None:
    """Know nothing of links where the site itself says who may come in.

    :raises NotFound: it does.
    """
    if not asked.access.is_by_link:
        raise NotFound("This site says by itself who may come in.")


def _spent(asked: Asked) -> Page:
    wait = asked.throttle.failed()
    if wait:
        words = f"Too many tries: wait {wait} seconds."
        return Page("closed.html", status=429, headers={"Retry-After": str(wait)}, problems=[words])
    return Page("closed.html", status=403, problems=[_SPENT])


def sign_out(asked: Asked) -> Response:
    """Let this browser forget who it was."""
    answer = redirect(asked.links.to(""), 303)
    mount = asked.request.script_root
    answer.headers["Set-Cookie"] = no_cookie(asked.access.state, asked.request.environ, mount)
    return answer
