"""The session: who has signed in, as a cookie that only this site can have made.

It is signed with a key in the state folder, so every worker knows it and nothing is kept for it. Whoever can read that
folder could make one; that is the site's own user, who may do anything here in any case.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat

from itsdangerous import BadData, URLSafeSerializer
from werkzeug.http import dump_cookie

from ..clock import timedelta
from ..errors import StateError
from ..state import lock, unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from wsgiref.types import WSGIEnvironment

    from ..state import State

READ, WRITE = "read", "write"

#: What a visitor may be, from less to more.
ROLES = (READ, WRITE)

#: After that one signs in anew.
MAX_AGE = timedelta(days=14)

#: So far ahead a clock may have been when a cookie or a link was made.
CLOCK_SLACK = timedelta(minutes=1)

#: The key's name in the state folder, and its size.
KEY_FILE, KEY_BYTES = "console.key", 32

#: How long (seconds) a key or a link waits for another process that makes one.
PATIENCE = 5.0

#: A name is no longer (letters), nor is a cookie of ours, nor has a browser more of one name than it could have paths.
LONGEST_NAME, LONGEST_COOKIE, MOST_COOKIES = 100, 3000, 5


class Grant:
    """What a sign-in gives: a role, and the name of whom it was given to, or None."""

    __slots__ = ("name", "role")

    def __init__(self, role: str, name: str | None) -> None:
        self.role, self.name = role, name


def printable(name: str) -> str:
    """Return a name as it may stand on a page, in a log and in the store: short, and nothing in it unseen."""
    shown = (letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name[:LONGEST_NAME].strip())
    return "".join(shown)[:LONGEST_NAME]


# -- The cookie --------------------------------------------------------------------------------


def cookie_name(state: State, mount: str) -> str:
    """Return the cookie's name: another one for each site and mount, for a host's ports share its cookies."""
    place = f"{os.path.realpath(state.path)}\0{mount.rstrip('/')}"
    return "dracotask-" + hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def cookie_for(grant: Grant, state: State, environ: WSGIEnvironment, mount: str, now: datetime) -> str:
    """Return the Set-Cookie header of somebody who has just signed in.

    :param mount: the path under which the console is (``Request.script_root``).
    :raises StateError: there is no key, and none can be made.
    """
    name = cookie_name(state, mount)
    value = _serializer(key_to_sign(state), name).dumps([grant.role, grant.name, int(now.timestamp())])
    return _set_cookie(name, str(value), environ, int(MAX_AGE.total_seconds()))


def no_cookie(state: State, environ: WSGIEnvironment, mount: str) -> str:
    """Return the Set-Cookie header that signs this browser out."""
    return _set_cookie(cookie_name(state, mount), "", environ, 0)


def signed_in(state: State, environ: WSGIEnvironment, mount: str, now: datetime) -> Grant | None:
    """Return what the request's cookie grants; None where there is none that holds.

    The key is read each time: a change of it ends every session at once, in every process.

    :raises OSError: the key cannot be read.
    """
    if not environ.get("HTTP_COOKIE"):
        return None
    name = cookie_name(state, mount)
    values = [*_values_of(name, environ["HTTP_COOKIE"])]
    key = read_key(state) if values else None
    if key is None:
        return None
    grants = (_grant_in(value, key, name, now) for value in values[:MOST_COOKIES])
    return next((grant for grant in grants if grant is not None), None)


def _values_of(name: str, header: str) -> Iterator[str]:
    """Yield the values of our cookie. Those of other applications on this host may be anything, and are not read."""
    for pair in header.split(";"):
        said, _, value = pair.strip().partition("=")
        if said == name and value.isascii() and 0 < len(value) <= LONGEST_COOKIE:
            yield value


def _grant_in(value: str, key: bytes, name: str, now: datetime) -> Grant | None:
    try:
        match _serializer(key, name).loads(value):
            case [str(role), str() | None as who, int(at)] if role in ROLES and _is_fresh(at, now):
                return Grant(role, who)
    except BadData:
        pass
    return None


def _is_fresh(issued_at: int, now: datetime) -> bool:
    return -CLOCK_SLACK.total_seconds() <= now.timestamp() - issued_at < MAX_AGE.total_seconds()


def _serializer(key: bytes, name: str) -> URLSafeSerializer:
    # The name is part of what is signed: a cookie of another mount says nothing here.
    return URLSafeSerializer(
        key, salt=f"dracotask session {name}", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
    )


def _set_cookie(name: str, value: str, environ: WSGIEnvironment, max_age: int) -> str:
    # Without a path it is the browser's: that of the folder in which it sees the door that it came in by, which is the
    # mount, also where a proxy adds to the path and tells nobody (RFC 6265, section 5.1.4).
    return dump_cookie(
        name, value, max_age=max_age, sync_expires=False, path=None, secure=_is_secure(environ),
        httponly=True, samesite="Strict",
    )  # fmt: skip


def _is_secure(environ: WSGIEnvironment) -> bool:
    """Tell whether the browser came by https; Origin says so too, where a proxy that ended the TLS does not."""
    return environ.get("wsgi.url_scheme") == "https" or environ.get("HTTP_ORIGIN", "").startswith("https://")


# -- The key -----------------------------------------------------------------------------------


def read_key(state: State) -> bytes | None:
    """Return the site's key; None when there is none, or none to be used: half of one, or one that others may read.

    :raises OSError: whether there is one cannot be found out.
    """
    try:
        descriptor = os.open(_key_file(state), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):  # none, or a symbolic link
            return None
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            return None
        key = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    # (Nothing but zeros is what some file systems leave of a file after a power cut.)
    return key if len(key) == KEY_BYTES and any(key) else None


def key_to_sign(state: State) -> bytes:
    """Return the site's key; it is made when there is none to be used.

    :raises StateError: it cannot be.
    """
    try:
        return read_key(state) or _make_key(state, is_wanted=lambda: read_key(state) is None)
    except StateError:
        raise
    except OSError as error:
        raise StateError(f"The console's key {_key_file(state)} cannot be had: {error.strerror}.") from error


def change_key(state: State) -> None:
    """Make another key, which ends every session.

    :raises StateError: it cannot be made; the old one holds.
    """
    try:
        _make_key(state)
    except StateError:
        raise
    except OSError as error:
        raise StateError(f"The console's key {_key_file(state)} cannot be changed: {error.strerror}.") from error


def _make_key(state: State, is_wanted: Callable[[], bool] = lambda: True) -> bytes:
    """Put a new key in place if it still is wanted, and return the one that is there then: one process at a time."""
    held = lock(f"{_key_file(state)}.lock", patience=PATIENCE)
    if held is None:
        raise StateError("Another process is making the console's key, and does not come to an end. Try again.")
    try:
        if is_wanted():
            _write_key(_key_file(state), secrets.token_bytes(KEY_BYTES))
        key = read_key(state)
    finally:
        unlock(held)
    if key is None:
        raise StateError(f"The console's key {_key_file(state)} is not kept as it was written.")
    return key


def _write_key(path: str, key: bytes) -> None:
    """Write the key aside and move it in place when the disk has it, so that nobody ever reads half of one."""
    aside = f"{path}.{secrets.token_hex(8)}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(descriptor)
        os.rename(aside, path)
    except OSError:
        os.unlink(aside)
        raise


def _key_file(state: State) -> str:
    return os.path.join(state.path, KEY_FILE)
