"""Who may enter the console: sign-in links, the cookie and its key, authorize(), and where a form came from."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from threading import Barrier
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from helpers import NOON, a_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sites import Site

from dracotask.cli.console import base_of, mounted_at
from dracotask.console import access, session, signin
from dracotask.console.access import Access, Visitor
from dracotask.console.origin import refusal
from dracotask.console.session import Grant, cookie_for, cookie_name, key_to_sign, no_cookie, printable, read_key
from dracotask.console.signin import Throttle, is_open, link_to, new_link_token, redeem, sign_out_everybody
from dracotask.errors import DracotaskError, StateError
from dracotask.state import State, lock, unlock

MINUTE = timedelta(minutes=1)
MOUNT = "/tasks"

HTTP = {"wsgi.url_scheme": "http"}


@pytest.fixture
def state(tmp_path: Path) -> State:
    return a_state(tmp_path)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(access, "_told", set())


def a_link(state: State, *, role: str = "write", by: str = "anna", now=NOON) -> str:
    return new_link_token(state, role=role, by=by, now=now)


def open_links(state: State) -> list[Path]:
    return sorted(Path(state.path, "sign_in").iterdir())


# -- Links -------------------------------------------------------------------------------------


def test_a_link_opens_once(state):
    token = a_link(state, role="read", by="anna")

    assert is_open(state, token, NOON)
    grant = redeem(state, token, NOON)
    assert grant is not None and (grant.role, grant.name) == ("read", "anna")
    assert not is_open(state, token, NOON)
    assert redeem(state, token, NOON) is None


def test_to_look_at_a_link_does_not_use_it_up(state):
    # As mail scanners and the previews of chats do
    token = a_link(state)

    assert all(is_open(state, token, NOON) for _ in range(5))
    assert redeem(state, token, NOON) is not None


def test_of_a_link_only_the_hash_is_kept_and_for_nobody_else(state):
    token = a_link(state)

    (file,) = open_links(state)
    assert file.name == hashlib.sha256(token.encode()).hexdigest()
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_tokens_are_of_256_bits_and_fit_into_an_address(state):
    tokens = {a_link(state) for _ in range(20)}

    assert len(tokens) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_a_link_expires_after_ten_minutes(state):
    token = a_link(state)

    assert is_open(state, token, NOON + 10 * MINUTE - timedelta(seconds=1))
    assert not is_open(state, token, NOON + 10 * MINUTE)
    assert redeem(state, token, NOON + 10 * MINUTE) is None

    # And is gone for good, whatever the clock says next
    assert redeem(state, token, NOON) is None
    assert open_links(state) == []


def test_a_clock_that_was_set_back_does_not_keep_a_link_open(state):
    token = a_link(state, now=NOON + 60 * MINUTE)

    assert not is_open(state, token, NOON)
    assert redeem(state, token, NOON) is None


def test_a_new_link_sweeps_what_is_expired_or_half_written(state):
    # Given an old link, one of now, and half of one
    a_link(state)
    young = a_link(state, now=NOON + 9 * MINUTE)
    Path(state.path, "sign_in", "f" * 64).write_text('{"role": "wri')

    # When another is made, after the first has expired
    new = a_link(state, now=NOON + 11 * MINUTE)

    # Then those two are left
    assert {file.name for file in open_links(state)} == {
        hashlib.sha256(token.encode()).hexdigest() for token in (young, new)
    }


def test_there_is_an_end_to_open_links(state, monkeypatch):
    monkeypatch.setattr(signin, "MOST_LINKS", 3)
    tokens = [a_link(state) for _ in range(3)]

    with pytest.raises(DracotaskError, match=r"^3 sign-in links are open already\. .* --sign-out-everybody closes"):
        a_link(state)

    redeem(state, tokens[0], NOON)
    assert a_link(state)


def test_a_role_that_there_is_none_of_gets_no_link(state):
    with pytest.raises(ValueError, match="'admin' is no role"):
        a_link(state, role="admin")


WRONG = [
    "", "x", "A" * 42, "A" * 44, "A" * 43 + "\n", "A" * 42 + "\0", "ä" * 43, "٣" * 43, "A" * 42 + "é", "../" * 14 + "A",
    "A" * 42 + "=", "A" * 42 + "/", "A" * 10_000_000, "\ud800" * 43, " " + "A" * 42, None, 7, b"A" * 43, ["A"],
]  # fmt: skip


@pytest.mark.parametrize("token", WRONG, ids=lambda token: ascii(token)[:20])
def test_what_cannot_be_a_token_is_refused_without_a_look_at_the_disk(state, monkeypatch, token):
    for name in ("open", "unlink", "stat"):
        monkeypatch.setattr(os, name, lambda *_, **__: pytest.fail("the disk was asked"))

    answers = (redeem(state, token, NOON), is_open(state, token, NOON))

    monkeypatch.undo()
    assert answers == (None, False)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token=st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True) | st.binary(max_size=50))
def test_no_guess_is_a_token_and_none_breaks_anything(state, token):
    assert redeem(state, token, NOON) is None
    assert not is_open(state, token, NOON)


@pytest.mark.parametrize(
    "record",
    [b"", b"{}", b"[]", b"nonsense", b'{"role": "admin", "name": "x", "until": "2026-11-21T12:05:00+00:00"}',
     b'{"role": "write", "name": 7, "until": "2026-11-21T12:05:00+00:00"}',
     b'{"role": "write", "name": "x", "until": "soon"}', b'{"role": "write", "name": "x", "until": null}', b"\xff" * 9],
)  # fmt: skip
def test_a_record_that_makes_no_sense_grants_nothing(state, record):
    token = a_link(state)
    open_links(state)[0].write_bytes(record)

    assert redeem(state, token, NOON) is None


def test_where_a_link_cannot_be_used_up_it_opens_nothing(state, monkeypatch):
    # Given a disk that has become read-only, on which a link would open for ever
    token = a_link(state)

    def refuse(path, **_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(StateError, match=r"Nobody can sign in: .* cannot be written: Read-only file system") as raised:
        redeem(state, token, NOON)
    assert token not in str(raised.value)


def test_a_link_that_cannot_be_kept_is_one_clear_sentence(state):
    Path(state.path, "sign_in").write_text("in the way")

    with pytest.raises(StateError, match="A sign-in link cannot be kept in"):
        a_link(state)


def test_of_many_threads_with_one_token_one_gets_in(state):
    crowd = 16
    for _ in range(20):
        token, line = a_link(state), Barrier(crowd)

        def come(_, token=token, line=line):
            line.wait()
            return redeem(state, token, NOON)

        with ThreadPoolExecutor(crowd) as threads:
            grants = [grant for grant in threads.map(come, range(crowd)) if grant is not None]
        assert len(grants) == 1


RACER = """\
import sys
from helpers import NOON
from dracotask.console.session import key_to_sign
from dracotask.console.signin import redeem
from dracotask.state import State

state = State(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[2] == "key":
    print(key_to_sign(state).hex())
else:
    print(" ".join(str(number) for number, token in enumerate(sys.argv[2:]) if redeem(state, token, NOON)))
"""


def race(state: State, *words: str, crowd: int = 6) -> list[str]:
    """Let processes come at the same moment; return what each has to say."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, state.docroot, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment,
        )
        for _ in range(crowd)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    told = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * crowd
    return told


def test_of_many_processes_with_the_same_tokens_one_gets_in_with_each(state):
    tokens = [a_link(state) for _ in range(60)]

    told = race(state, *tokens)

    assert sorted(int(number) for line in told for number in line.split()) == list(range(60))


@pytest.mark.parametrize("before", [None, b"", b"short", bytes(32)], ids=["none", "empty", "truncated", "zeros"])
def test_processes_that_make_the_key_at_once_agree_on_one(state, before):
    # Given no key, or what a crash has left of one
    key_file = Path(state.path, "console.key")
    if before is not None:
        key_file.touch(0o600)
        key_file.write_bytes(before)

    # When many need it
    told = race(state, "key")

    # Then all have the same, and nothing lies about
    assert len(set(told)) == 1 and told[0] == key_file.read_bytes().hex() != bytes(32).hex()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert sorted(path.name for path in Path(state.path).glob("console*")) == ["console.key", "console.key.lock"]


# -- The cookie --------------------------------------------------------------------------------


def cookie(state: State, *, role: str = "write", name: str | None = "anna", mount: str = MOUNT, now=NOON) -> str:
    """Sign somebody in and return the Cookie header that their browser sends from then on."""
    return cookie_for(Grant(role, name), state, HTTP, mount, now).partition(";")[0]


def visitor(state: State, header: str, *, mount: str = MOUNT, now=NOON) -> Visitor | None:
    return Access(state).visitor({**HTTP, "HTTP_COOKIE": header}, mount, now=now)


def test_who_has_signed_in_is_known_by_role_and_name(state):
    found = visitor(state, cookie(state, role="read", name="Ångström"))
    other = visitor(state, cookie(state, role="write", name=None))

    assert found is not None and other is not None
    assert (found.role, found.name, found.how, found.may_write) == ("read", "Ångström", "link", False)
    assert (other.role, other.name, other.how, other.may_write) == ("write", None, "link", True)


def test_the_cookie_is_for_this_mount_and_for_no_script(state):
    said = SimpleCookie(cookie_for(Grant("write", "anna"), state, HTTP, MOUNT, NOON))

    ((name, morsel),) = said.items()
    assert name == cookie_name(state, MOUNT)
    assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "Strict", "")
    assert (morsel["max-age"], morsel["secure"], morsel["domain"]) == (str(14 * 86400), "", "")


@pytest.mark.parametrize(
    ("environ", "is_secure"),
    [(HTTP, False), ({"wsgi.url_scheme": "https"}, True), ({**HTTP, "HTTP_ORIGIN": "https://shop.example"}, True),
     ({**HTTP, "HTTP_ORIGIN": "http://shop.example"}, False)],
)  # fmt: skip
def test_a_browser_that_came_by_https_keeps_the_cookie_to_that(state, environ, is_secure):
    for header in (cookie_for(Grant("write", "a"), state, environ, MOUNT, NOON), no_cookie(state, environ, MOUNT)):
        assert ("; Secure;" in header) is is_secure


def test_signing_out_takes_the_cookie_away(state):
    header = no_cookie(state, HTTP, MOUNT)

    assert header.startswith(f"{cookie_name(state, MOUNT)}=;")
    assert "Max-Age=0" in header and "Path=" not in header


def test_two_consoles_on_one_host_do_not_disturb_each_other(tmp_path):
    # Given two sites, one of them with the console at two paths; ports of a host share its cookies
    sites = [a_state(tmp_path / name) for name in ("shop", "blog") if not (tmp_path / name).mkdir()]
    places = [(sites[0], "/tasks"), (sites[1], "/tasks"), (sites[0], "/more"), (sites[0], "")]

    # When one signs in at each
    cookies = [cookie(state, name=str(number), mount=mount) for number, (state, mount) in enumerate(places)]

    # Then all cookies have names of their own, and each console finds its own among them
    assert len({header.partition("=")[0] for header in cookies}) == len(places)
    for number, (state, mount) in enumerate(places):
        found = visitor(state, "; ".join(cookies), mount=mount)
        assert found is not None and found.name == str(number)


def test_a_cookie_of_another_place_lets_nobody_in_here(tmp_path):
    # Given what another site, another mount and another key have signed, under the name of ours
    here, there = (a_state(tmp_path / name) for name in ("a", "b") if not (tmp_path / name).mkdir())
    name = cookie_name(here, MOUNT)
    foreign = [cookie(there), cookie(here, mount="/other"), cookie(here, mount="")]
    key_to_sign(here)

    for header in foreign:
        assert visitor(here, f"{name}={header.partition('=')[2]}") is None


def test_a_session_ends_after_fourteen_days(state):
    header = cookie(state)

    assert visitor(state, header, now=NOON + timedelta(days=14, seconds=-1)) is not None
    assert visitor(state, header, now=NOON + timedelta(days=14)) is None
    # And one from the future is of a clock that was wrong
    assert visitor(state, header, now=NOON - timedelta(hours=1)) is None


def test_a_cookie_of_which_anything_was_changed_lets_nobody_in(state):
    name, _, value = cookie(state, role="read").partition("=")

    changed = [value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :] for at in range(len(value) - 1)]
    for forged in (*changed, value[:-2], value[1:], value + ".", value.partition(".")[0], "", value * 2, "." * 200):
        assert visitor(state, f"{name}={forged}") is None, forged


def test_a_role_cannot_be_raised_by_joining_two_cookies(state):
    # Given one who may only look, and what says that one may write
    name, _, value = cookie(state, role="read").partition("=")
    other = cookie(state, role="write", name="x").partition("=")[2]
    parts, better = value.split("."), other.split(".")

    # When they are put together
    mixed = ".".join([*better[:-1], parts[-1]])

    # Then nobody comes in
    assert visitor(state, f"{name}={mixed}") is None


def test_cookies_of_other_applications_do_not_matter(state):
    ours = cookie(state)

    for others in ("caf\xe9=\xff\xfe", 'a="b\\', ";;;=;=", "x" * 5000, f"{cookie_name(state, MOUNT)}=stale"):
        found = visitor(state, f"{others}; {ours}; b=1")
        assert found is not None and found.name == "anna"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(max_codepoint=255)), is_ours=st.booleans())
def test_no_cookie_that_is_made_up_lets_anybody_in(state, value, is_ours):
    key_to_sign(state)
    header = f"{cookie_name(state, MOUNT)}={value}" if is_ours else value

    assert visitor(state, header) is None


def test_where_nobody_has_ever_signed_in_no_cookie_makes_a_key(state):
    assert visitor(state, f"{cookie_name(state, MOUNT)}=x") is None
    assert not Path(state.path, "console.key").exists()


# -- The key -----------------------------------------------------------------------------------


def spoil(state: State, how: str) -> None:
    """Make of the key what must not be used."""
    file = Path(state.path, "console.key")
    key = file.read_bytes()
    match how:
        case "empty":
            file.write_bytes(b"")
        case "truncated":
            file.write_bytes(key[:16])
        case "too long":
            file.write_bytes(key + b"x")
        case "zeros":
            file.write_bytes(bytes(32))
        case "open to others":
            file.chmod(0o640)
        case "a link":
            aside = file.rename(file.with_suffix(".moved"))
            file.symlink_to(aside)
        case "a pipe":
            file.unlink()
            os.mkfifo(file, 0o600)


@pytest.mark.parametrize(
    "how", ["empty", "truncated", "too long", "zeros", "open to others", "a link", "a pipe"]
)
def test_a_key_that_is_none_signs_nothing_and_is_made_anew(state, how):
    # Given somebody who has signed in, and a key that was spoilt since
    before = cookie(state)
    spoil(state, how)

    # Then nobody is in
    assert read_key(state) is None
    assert visitor(state, before) is None

    # Until one signs in anew, with a new key
    assert visitor(state, cookie(state)) is not None
    assert visitor(state, before) is None
    key_file = Path(state.path, "console.key")
    assert key_file.stat().st_size == 32 and stat.S_ISREG(key_file.lstat().st_mode)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_to_sign_everybody_out_ends_all_sessions_and_links_at_once(state):
    # Given two who are in, as another process may have seen a moment ago, and an open link
    access = Access(state)
    environs = [{**HTTP, "HTTP_COOKIE": cookie(state, name=name)} for name in ("anna", "ben")]
    token = a_link(state)
    assert all(access.visitor(environ, MOUNT, now=NOON) for environ in environs)

    # When all are signed out
    sign_out_everybody(state)

    # Then nobody is in, and the link is closed
    assert [access.visitor(environ, MOUNT, now=NOON) for environ in environs] == [None, None]
    assert redeem(state, token, NOON) is None
    assert visitor(state, cookie(state)) is not None


def test_a_key_that_somebody_is_making_for_ever_is_not_waited_for(state, monkeypatch):
    monkeypatch.setattr(session, "PATIENCE", 0.01)
    held = lock(os.path.join(state.path, "console.key.lock"))
    assert held is not None

    with pytest.raises(StateError, match="does not come to an end"):
        key_to_sign(state)

    unlock(held)


def test_a_disk_that_is_full_keeps_the_old_key_and_says_so(state, monkeypatch):
    # Given somebody who is in, and no room
    header = cookie(state)

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)

    # When all shall be signed out
    with pytest.raises(StateError, match=r"cannot be changed: No space left on device"):
        sign_out_everybody(state)

    # Then all is as before
    assert visitor(state, header) is not None
    assert sorted(path.name for path in Path(state.path).glob("console*")) == ["console.key", "console.key.lock"]


def test_a_key_that_cannot_be_read_keeps_everybody_out_and_is_told_once(state, monkeypatch, caplog):
    header = cookie(state)
    monkeypatch.setattr(session, "read_key", lambda state: (_ for _ in ()).throw(OSError(24, "Too many open files")))

    assert [visitor(state, header) for _ in range(3)] == [None] * 3
    assert [record.message for record in caplog.records] == [
        "The console's key cannot be read, so nobody can come in: Too many open files."
    ]


# -- authorize() -------------------------------------------------------------------------------


def asked(state: State, answer: object) -> Visitor | None:
    return Access(state, authorize=lambda environ: answer).visitor(HTTP, MOUNT)


def test_authorize_says_who_comes_in_and_as_whom(state):
    for answer, role, name in (
        ("read", "read", None), ("write", "write", None), (("write", "anna"), "write", "anna"),
        (("read", None), "read", None), (("read", " "), "read", None),
    ):  # fmt: skip
        found = asked(state, answer)
        assert found is not None
        assert (found.role, found.name, found.how) == (role, name, "authorize")
    assert asked(state, None) is None


def test_where_authorize_decides_no_link_does(state):
    header = cookie(state)

    access = Access(state, authorize=lambda environ: None)

    assert access.visitor({**HTTP, "HTTP_COOKIE": header}, MOUNT, now=NOON) is None
    assert (access.is_by_link, Access(state).is_by_link) == (False, True)


async def _coroutine():
    return "write"


class Odd:
    """Says yes to everything, and cannot be looked at."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1

    def __repr__(self):
        raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (True, "returned True, which says neither who nor what for"), (False, "returned False"), (1, "the type int"),
        ("admin-secret", "a text that is no role"), ("", "a text that is no role"), ("WRITE", "no role"),
        (("write",), "a tuple of 1"), (("write", "anna", "secret"), "a tuple of 3"), (("secret", "x"), "a tuple of 2"),
        (("write", 7), "a tuple of 2"), (("write", True), "a tuple of 2"), ((True, "anna"), "a tuple of 2"),
        (["write", "anna"], "the type list"), ({"write": "anna"}, "the type dict"), (b"write", "the type bytes"),
        (Odd(), "the type Odd"), ((Odd(), "anna"), "a tuple of 2"), (object(), "the type object"),
    ],
)  # fmt: skip
def test_whatever_else_authorize_returns_lets_nobody_in_and_is_told_once(state, caplog, answer, words):
    assert [asked(state, answer) for _ in range(3)] == [None] * 3

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("dracotask", logging.ERROR)
    assert words in record.message
    assert 'It must return None, "read", "write", or one of these with a name: ("write", "anna").' in record.message
    assert "secret" not in record.message


def test_an_authorize_that_is_async_is_told_of_in_words(state, caplog):
    coroutine = _coroutine()

    assert asked(state, coroutine) is None

    coroutine.close()
    assert "it must be a plain function, not an async one" in caplog.text


class Unbound:
    """A proxy of nothing, as a framework has them outside of a request."""

    @property
    def __class__(self):
        raise RuntimeError("secret")


def test_an_answer_that_cannot_even_be_looked_at_lets_nobody_in(state, caplog):
    for answer in (Unbound(), ("write", Unbound()), (Unbound(), "anna")):
        assert asked(state, answer) is None

    assert "raised RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_what_authorize_raises_keeps_its_secret(state, caplog):
    # Given one that fails with a password on its lips
    def authorize(environ):
        raise ConnectionError("postgresql://shop:secret@db/")

    # When many ask
    access = Access(state, authorize=authorize)
    assert [access.visitor(HTTP, MOUNT) for _ in range(3)] == [None] * 3

    # Then the log says once what it was, and where, and no more
    (record,) = caplog.records
    assert re.search(r" raised ConnectionError \(.*/test_console_access\.py:\d+\), so nobody", record.message)
    assert record.exc_info is None
    assert "secret" not in caplog.text


def test_complaints_come_to_an_end(state, caplog):
    for number in range(access.MOST_COMPLAINTS + 20):
        asked(state, tuple(range(3, 4 + number)))

    assert len(caplog.records) == access.MOST_COMPLAINTS


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("  anna \n", "anna"), ("a\nb\0c", "a\\nb\\x00c"), ("\x1b[31mred", "\\x1b[31mred"), ("r\u202eab", "r\\u202eab"),
        ("z\u200bw", "z\\u200bw"), ("x" * 500, "x" * 100), ("\ud800", "\\ud800"), ("Ægir 😀", "Ægir 😀"),
        ("<b>", "<b>"), ("\0" * 100, "\\x00" * 25),
    ],
)  # fmt: skip
def test_names_are_printable_and_short(state, name, shown):
    found = asked(state, ("write", name))

    assert found is not None and found.name == shown == printable(name)
    # And so they are from a link
    grant = redeem(state, a_link(state, by=name), NOON)
    assert grant is not None and grant.name == shown


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_name_can_be_shown_written_and_kept(name):
    shown = printable(name)

    assert shown.isprintable() and len(shown) <= 100
    assert shown.encode().decode() == shown


# -- Failures ----------------------------------------------------------------------------------


def test_ten_sign_ins_a_minute_may_fail():
    now = 1000.0
    throttle = Throttle(clock=lambda: now)

    # Given ten that failed, a second apart
    for _ in range(10):
        assert throttle.failed() == 0
        now += 1

    # Then the next ones are told to wait until the first is a minute old, however often they come
    assert [throttle.failed() for _ in range(1000)] == [50] * 1000
    now += 49.5
    assert throttle.failed() == 1

    # And whoever waited so long is heard again
    now += 0.5
    assert throttle.failed() == 0
    assert throttle.failed() == 1


def test_in_a_crowd_no_more_than_ten_failures_are_heard():
    throttle = Throttle(clock=lambda: 0.0)

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda _: throttle.failed(), range(200)))

    assert told.count(0) == 10
    assert set(told) == {0, 60}


# -- Where a form came from --------------------------------------------------------------------


def sent(method: str = "POST", **headers: str) -> str | None:
    return refusal({"REQUEST_METHOD": method, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}})


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_may_come_from_anywhere(method):
    assert sent(method, sec_fetch_site="cross-site", origin="https://evil.example", host="shop.example") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "", "FOO"])
def test_what_may_change_something_has_to_say_where_it_comes_from(method):
    assert "does not say which page" in (sent(method, host="shop.example") or "")
    assert sent(method, sec_fetch_site="same-origin") is None


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_browser_s_word_is_enough(site):
    # Behind a proxy that changes Host, too
    assert sent(sec_fetch_site=site, origin="https://shop.example", host="127.0.0.1:8000") is None


@pytest.mark.parametrize(
    "site",
    ["cross-site", "same-site", "Same-Origin", " same-origin", "same-origin,same-origin", "same-origin, none",
     "same-origin,", "null", "x" * 9999, "\xff"],
)  # fmt: skip
def test_any_other_word_of_the_browser_s_is_a_refusal_even_if_origin_fits(site):
    words = sent(sec_fetch_site=site, origin="https://shop.example", host="shop.example")

    assert words is not None and words.startswith("This came from a page of another site")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://shop.example", "shop.example"), ("https://Shop.Example", "shop.example"),
        ("http://localhost:8766", "localhost:8766"), ("http://192.168.0.7:8766", "192.168.0.7:8766"),
        ("http://[::1]:8766", "[::1]:8766"), ("https://shop.example", "shop.example:443"),
        ("http://shop.example", "shop.example:80"), ("http://shop.example:80", "shop.example"),
        ("https://xn--mller-kva.example", "xn--mller-kva.example"), ("http://my_host", "my_host"),
    ],
)  # fmt: skip
def test_without_its_word_the_host_of_origin_has_to_be_the_one_that_was_asked(origin, host):
    assert sent(origin=origin, host=host) is None
    assert sent(origin=origin, host=host, sec_fetch_site="") is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "shop.example"), ("https://shop.example.evil.example", "shop.example"),
        ("https://shop.example:8443", "shop.example"), ("https://shop.example", "shop.example:80"),
        ("http://shop.example", "shop.example:443"), ("https://shop.example", "127.0.0.1:8000"),
        ("https://shop.example", ""), ("https://shop.example", "shop.example,shop.example"),
        ("https://shop.example", "shop.example/"), ("https://shop.example", "anna@shop.example"),
        ("https://shop.example", "shop.example:"), ("https://shop.example", " shop.example"),
        ("https://shop.example", "shop.example\n"), ("https://shop.example", "shop.example:0443x"),
        ("https://shop.example", "shop.example:\u0664\u0664\u0663"),
    ],
)  # fmt: skip
def test_another_host_is_refused_with_what_a_proxy_has_to_do(origin, host):
    words = sent(origin=origin, host=host)

    assert words is not None and "must pass the header Host unchanged (nginx: proxy_set_header Host" in words


@pytest.mark.parametrize(
    "origin",
    ["null", "https://shop.example, https://shop.example", "https://shop.example,", "https://shop.example/",
     "https://anna@shop.example", "shop.example", "//shop.example", "ftp://shop.example", "moz-extension://shop.example",
     "https://shop.example\n", " https://shop.example", "https://", "https://shop.example:", "https://shop.example#",
     "https://shop.example:443:443", "https://\xe4.example", "javascript:shop.example", "x" * 9999],
)  # fmt: skip
def test_an_origin_that_is_none_is_refused(origin):
    words = sent(origin=origin, host="shop.example")

    assert words is not None and words.startswith("The browser does not tell this page from one of another site")


def test_what_proxies_add_is_not_believed():
    assert sent(origin="https://evil.example", host="shop.example", x_forwarded_host="evil.example") is not None


headers = st.text(st.characters(max_codepoint=255), max_size=80)


@settings(max_examples=300, deadline=None)
@given(site=headers, origin=headers, host=headers, method=st.sampled_from(["POST", "GET"]) | headers)
def test_no_header_breaks_the_look_at_where_a_form_comes_from(site, origin, host, method):
    words = sent(method, sec_fetch_site=site, origin=f"https://{origin}", host=host)

    assert words is None or words.isprintable()


# -- The command -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path", "base"),
    [
        (None, "/tasks", "https://YOUR-SITE/tasks"), ("https://shop.example", "/tasks", "https://shop.example/tasks"),
        ("https://shop.example/", "/tasks", "https://shop.example/tasks"),
        ("https://host.example/shop/tasks/", "/tasks", "https://host.example/shop/tasks/"),
        ("http://127.0.0.1:8766", None, "http://127.0.0.1:8766"),
    ],
)  # fmt: skip
def test_the_path_of_the_mount_goes_behind_an_address_that_has_none(url, path, base):
    assert base_of(url, path) == base
    assert link_to(base, "TOKEN").startswith(base.rstrip("/") + "/sign-in?token=")


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/tasks", "/tasks"), ("/tasks\n", "/tasks"), ("/", ""), ("/täglich", "/t%C3%A4glich"),
        ("/täglich".encode().decode("latin-1"), "/t%C3%A4glich"), ("/a b?c#d", "/a%20b%3Fc%23d"),
        ("", None), ("tasks", None), ("\0", None),
    ],
)  # fmt: skip
def test_where_the_console_is_stands_in_the_state_folder(state, written, path):
    Path(state.path, "console").write_text(written, encoding="utf-8")

    assert mounted_at(state) == path


def mounted(site: Site) -> None:
    """Let an application show the console of a site, as far as the command can see."""
    site.state.create()
    Path(site.state.path, "console").write_text("/tasks")


def token_in(told: str) -> tuple[str, str]:
    """Return the address that a link leads to, and its token."""
    (link,) = re.findall(r"^  (https?://\S+)$", told, re.M)
    parts = urlsplit(link)
    assert parts.path.endswith("/sign-in")
    (token,) = parse_qs(parts.query)["token"]
    return link.removesuffix(f"/sign-in?{parts.query}"), token


def now_and_here(site: Site, token: str) -> Grant | None:
    from dracotask.clock import utc_now

    return redeem(site.state, token, utc_now())


@pytest.mark.parametrize(("words", "role"), [([], "write"), (["--read"], "read")])
def test_where_the_site_shows_the_console_the_command_prints_a_link(site, words, role):
    mounted(site)

    ended = site.run("console", *words)

    assert (ended.returncode, ended.stderr) == (0, "")
    address, token = token_in(ended.stdout)
    assert address == "https://YOUR-SITE/tasks"
    assert "Put the address of your site where https://YOUR-SITE stands." in ended.stdout
    assert 'console_url = "https://www.example.org/tasks"' in ended.stdout
    grant = now_and_here(site, token)
    assert grant is not None and grant.role == role
    assert grant.name and "no terminal" not in grant.name


def test_the_address_comes_from_the_option_or_from_the_settings(site):
    mounted(site)
    site.put("dracotask.toml", 'console_url = "https://shop.example/tasks"\n')

    by_settings, by_option = site.run("console"), site.run("console", "--url", "http://localhost:8000")

    assert token_in(by_settings.stdout)[0] == "https://shop.example/tasks"
    assert token_in(by_option.stdout)[0] == "http://localhost:8000/tasks"
    assert "YOUR-SITE" not in by_settings.stdout + by_option.stdout


def test_an_address_that_is_none_makes_no_link(site):
    mounted(site)

    ended = site.run("console", "--url", "shop.example")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--url 'shop.example' cannot be: it must be an address" in ended.stderr
    assert not os.path.exists(os.path.join(site.state.path, "sign_in"))


def test_the_command_signs_everybody_out(site):
    mounted(site)
    _, token = token_in(site.run("console").stdout)
    header = cookie(site.state)

    ended = site.run("console", "--sign-out-everybody")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Everybody is signed out, and no link is open any more.")
    assert visitor(site.state, header) is None
    assert now_and_here(site, token) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")
def test_nobody_but_the_site_s_user_makes_links(site):
    mounted(site)
    os.chown(site.state.path, 1, 1)

    ended = site.run("console")

    os.chown(site.state.path, 0, 0)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.search(r"As daemon: sudo -u daemon .* console\n$", ended.stderr)


class Alone:
    """The console, served by the command."""

    def __init__(self, site: Site, *words: str) -> None:
        self.process = site.start("console", *words)
        self.told = ""
        assert self.process.stdout is not None
        while "token=" not in self.told:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            self.told += line
        self.address, self.token = token_in(self.told)

    def ask(self, path: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str, str | None]:
        """Return the status, the body and the cookie of an answer; no redirect is followed."""
        data = urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(self.address + path, data, headers)
        try:
            with OPENER.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode(), answer.headers["Set-Cookie"]
        except HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.headers["Set-Cookie"]

    def end(self) -> tuple[str, str]:
        """End it by Ctrl-C, which is a good end; return what else it has told."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return out, err


class _Here(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(_Here, urllib.request.ProxyHandler({}))

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.mark.server
def test_where_nothing_shows_the_console_the_command_serves_it_to_who_has_the_link(site):
    # Given a site with no web application
    site.write("class Hello(Task):", "    def run(self): pass")
    alone = Alone(site, "--port", "0")
    assert "It starts what you run there, and no more by itself" in alone.told

    # When a stranger comes, a guest guesses, and a scanner follows the link
    assert alone.ask("/")[0] == 403
    assert alone.ask("/sign-in", {"token": "A" * 43}, **SAME)[0] == 403
    assert alone.ask(f"/sign-in?token={alone.token}")[0] == 200

    # Then the link still opens, once, from the page itself alone
    assert alone.ask("/sign-in", {"token": alone.token}, **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    status, _, given_cookie = alone.ask("/sign-in", {"token": alone.token}, **SAME)
    assert (status, bool(given_cookie)) == (303, True)
    assert alone.ask("/sign-in", {"token": alone.token}, **SAME)[0] == 403
    assert alone.ask("/", Cookie=given_cookie.partition(";")[0])[0] == 200

    # And no token was told to anybody but who called the command
    out, err = alone.end()
    assert alone.token not in out + err


@pytest.mark.server
def test_the_log_of_serve_holds_no_token(site):
    # Given the development server
    process = site.start("serve", "--port", "0")
    address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]

    # When somebody follows a link there, and looks for something else
    for path in ("/tasks/sign-in?token=secret", "/tasks/runs?failed=1"):
        with pytest.raises(HTTPError), OPENER.open(address + path, timeout=60):
            pass

    # Then the log has both, less what was in the link
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert "GET /tasks/sign-in?... HTTP/1.1" in told
    assert "GET /tasks/runs?failed=1 HTTP/1.1" in told
    assert "secret" not in told


@pytest.mark.server
def test_the_console_takes_the_next_port_when_its_own_is_busy(site, tmp_path):
    (tmp_path / "other").mkdir()
    consoles = [Alone(each) for each in (site, Site(tmp_path / "other"))]

    ports = [urlsplit(console.address).port for console in consoles]

    assert len(set(ports)) == 2
    assert all(port is not None and port >= 8766 for port in ports)
    for console in consoles:
        console.end()


def test_a_port_that_was_asked_for_and_is_busy_is_one_clear_sentence(site):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = site.run("console", "--port", str(port))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"Take another: console --port {port + 1}" in ended.stderr
