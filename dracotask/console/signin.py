"""Sign-in: links that open the console once, to whoever the command line gives one.

A link holds a token of 256 random bits, of which only the SHA-256 is kept: the name of a file in the state folder. To
look a token up is to compare hashes by the file system, which tells nobody how near a guess was; to redeem it is to
unlink that file, which one process alone can do.

**Only a POST redeems.** Mail scanners and the previews of chats follow links; and a cookie that is Strict, set while
the browser comes from elsewhere, would not go with the redirect that follows. So a GET shows a page with one button.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections import deque
from math import ceil
from threading import Lock
from time import monotonic
from urllib.parse import urlencode

from ..clock import from_text, timedelta, to_text
from ..errors import DracotaskError, StateError
from ..state import lock, unlock
from .session import CLOCK_SLACK, LONGEST_NAME, PATIENCE, ROLES, Grant, change_key, key_to_sign, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..state import State

#: How long a link opens the console.
LINK_LIFE = timedelta(minutes=10)

#: So many may be open at once.
MOST_LINKS = 100

#: The page that a link leads to, below the mount, and what it finds the token by.
SIGN_IN, TOKEN = "sign-in", "token"

#: Where links are kept in the state folder.
FOLDER = "sign_in"

#: So many sign-ins may fail in so many seconds, in each process.
MOST_FAILURES, WITHIN = 10, 60.0

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64

_LONGEST_RECORD = 1024 + 12 * LONGEST_NAME


# -- Links -------------------------------------------------------------------------------------


def new_link_token(state: State, *, role: str, by: str, now: datetime) -> str:
    """Return a token that signs one visitor in.

    :param role: ``"read"`` or ``"write"``.
    :param by: who asks for it, and will have done what is done with it.
    :raises DracotaskError: too many are open.
    :raises StateError: it cannot be kept.
    """
    if role not in ROLES:
        raise ValueError(f"{role!r:.40} is no role: it is 'read' or 'write'.")
    token = secrets.token_urlsafe(32)
    record = {"role": role, "name": printable(by), "until": to_text(now + LINK_LIFE)}
    try:
        key_to_sign(state)  # what cannot be redeemed later on is better refused now
        _keep(state, _file_of(state, token), json.dumps(record), now)
    except StateError:
        raise
    except OSError as error:
        raise StateError(f"A sign-in link cannot be kept in {state.path}: {error.strerror}.") from error
    return token


def link_to(console: str, token: str) -> str:
    """Return the link: the address of the console, the page, the token."""
    return f"{console.rstrip('/')}/{SIGN_IN}?{urlencode({TOKEN: token})}"


def is_open(state: State, token: object, now: datetime) -> bool:
    """Tell whether a token would sign its bearer in now, without redeeming it: for the page with the button."""
    return isinstance(token, str) and _grant_of(state, token, now) is not None


def redeem(state: State, token: object, now: datetime) -> Grant | None:
    """Use a token up and return what it grants; None for one that is used, expired, or was never one.

    Of any number of threads and processes that come with the same token, one gets the Grant.

    :raises StateError: the link cannot be used up, as where the disk is read-only.
    """
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return None
    grant = _grant_of(state, token, now)
    return grant if _close(_file_of(state, token)) else None


def sign_out_everybody(state: State) -> None:
    """End every session, and close every link that is open.

    :raises StateError: that cannot be.
    """
    try:
        for path in _links(state):
            _close(path)
    except StateError:
        raise
    except OSError as error:
        raise StateError(f"The sign-in links in {state.path} cannot be removed: {error.strerror}.") from error
    change_key(state)


def _keep(state: State, path: str, text: str, now: datetime) -> None:
    """Write the file of a link, once the others are counted; one process at a time."""
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    held = lock(os.path.join(state.path, f"{FOLDER}.lock"), patience=PATIENCE)
    if held is None:
        raise StateError("Another process is making a sign-in link, and does not come to an end. Try again.")
    try:
        if _sweep(state, now) >= MOST_LINKS:
            raise DracotaskError(
                f"{MOST_LINKS} sign-in links are open already. They expire within"
                f" {LINK_LIFE.seconds // 60} minutes; console --sign-out-everybody closes them at once."
            )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
    finally:
        unlock(held)


def _sweep(state: State, now: datetime) -> int:
    """Remove the links that are expired, or half written, and return how many are left."""
    is_kept = [_record(path, now) is not None or not _close(path) for path in _links(state)]
    return sum(is_kept)


def _links(state: State) -> list[str]:
    folder = os.path.join(state.path, FOLDER)
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder)]
    except FileNotFoundError:
        return []


def _file_of(state: State, token: str) -> str:
    return os.path.join(state.path, FOLDER, hashlib.sha256(token.encode("ascii")).hexdigest())


def _grant_of(state: State, token: str, now: datetime) -> Grant | None:
    return _record(_file_of(state, token), now) if _TOKEN.fullmatch(token) else None


def _record(path: str, now: datetime) -> Grant | None:
    """Return what the link in a file grants; None for an expired one, or one that makes no sense."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            said = json.loads(file.read(_LONGEST_RECORD))
        role, name, left = said["role"], said["name"], from_text(said["until"]) - now
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    # Not for long either: the clock may have been set back since.
    is_open = timedelta() < left <= LINK_LIFE + CLOCK_SLACK
    return Grant(role, name) if is_open and role in ROLES and isinstance(name, str) else None


def _close(path: str) -> bool:
    """Remove the file of a link; return whether it was we who did.

    :raises StateError: it stays.
    """
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StateError(f"Nobody can sign in: {os.path.dirname(path)} cannot be written: {error.strerror}.") from error
    return True


# -- Failures ----------------------------------------------------------------------------------


class Throttle:
    """Counts the sign-ins that fail in this process. A good link is let in whatever they are.

    :param clock: seconds that only ever grow.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock, self._failed_at, self._lock = clock, deque[float](maxlen=MOST_FAILURES), Lock()

    def failed(self) -> int:
        """Note a failure; return the seconds for Retry-After, or 0 while there have been few.

        Those that are sent away do not count, so whoever waits as long as is said is heard again.
        """
        with self._lock:
            now = self._clock()
            left = WITHIN - (now - self._failed_at[0]) if len(self._failed_at) == MOST_FAILURES else 0.0
            if left <= 0:
                self._failed_at.append(now)
            return max(ceil(left), 0)
