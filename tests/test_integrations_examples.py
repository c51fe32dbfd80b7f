"""The examples of docs/examples, each under its real server with two workers: every fire time runs once."""

from __future__ import annotations

import shlex
from contextlib import ExitStack

import pytest
from examples import EXAMPLES, Example
from rst import Document
from sites import until

serving = pytest.mark.server

#: How each example is served, as it says itself, and how its own program lists the tasks.
SERVED = {
    "plain": ("plain", ["gunicorn --workers 2 wsgi:application"], "dracotask . list"),
    "flask": ("flask", ['gunicorn --workers 2 "shop:create_app()"'], "flask --app shop tasks"),
    "django": ("django", ["gunicorn --workers 2 shop.wsgi"], "python manage.py tasks"),
    "django under asgi": ("django", ["uvicorn --workers 2 shop.asgi:application"], "python manage.py tasks"),
    "pyramid": ("pyramid", ["pserve shop.ini"] * 2, "dracotask . list"),
    "fastapi": ("fastapi", ["uvicorn --workers 2 shop:application"], "dracotask . list"),
}

#: What a visitor gets who asks for the console; the plain site has none, and answers every path itself.
CONSOLE_ANSWERS = {"plain": 200, "flask": 404, "django": 403, "pyramid": 403, "fastapi": 403}


@serving
@pytest.mark.parametrize("served", SERVED)
def test_an_example_runs_each_fire_time_once_with_two_workers(served, site):
    # Given an example, served as it says itself
    name, servers, listing = SERVED[served]
    example = Example(name, site)
    if name == "django":
        assert example.run("python", "manage.py", "migrate", "--verbosity=0").returncode == 0
    first_sight = example.first_sight()
    with ExitStack() as stack:
        ports = [stack.enter_context(example.served(*shlex.split(words))) for words in servers]
        assert all(example.says(words) or example.says(f"PYTHONPATH=. {words}") for words in servers)

        # When visitors come to both workers, and several fire times pass
        visits = [example.get(port, "/") for port in ports for _ in range(10)]
        example.wait_for_runs(3)

        # Then they see the site's own page, and nothing that is private
        assert set(visits) == {(200, "The shop is open.\n")}
        for path in ("/__tasks__.py", "/.dracotask/state.db", "/dracotask.toml"):
            assert example.get(ports[0], path) == (404, "404 Not Found\n")

        # and the console, where there is one, is closed to them
        assert example.get(ports[0], "/tasks/")[0] == CONSOLE_ANSWERS[name]

        # and the site's own program lists the task
        listed = example.run(*shlex.split(listing))
        assert (listed.returncode, listed.stderr) == (0, ""), listed.stderr
        assert "Stocktaking" in listed.stdout and "1 task" in listed.stdout
    # and each fire time is once on record and was once done.
    example.assert_each_fire_time_was_once(first_sight)
    assert not [line for line in example.words().splitlines() if "Traceback" in line]


@serving
def test_asgi_workers_begin_without_a_request(site):
    # Given the example under a server that nobody visits: `served` has only looked whether it listens
    example = Example("fastapi", site)
    example.first_sight()
    (site.docroot / "nobody.py").write_text(
        "from shop import application as app\n"
        "async def application(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        return await app(scope, receive, send)\n"
        "    await send({'type': 'http.response.start', 'status': 204, 'headers': []})\n"
        "    await send({'type': 'http.response.body'})\n"
    )

    # When it is started
    with example.served("uvicorn", "nobody:application"):
        # Then tasks run
        example.wait_for_runs(1)


#: Prints the id of a superuser's session.
SIGN_IN = """\
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django
django.setup()
from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
request = HttpRequest()
request.session = SessionStore()
login(request, get_user_model().objects.create_superuser("anna"))
request.session.save()
print(request.session.session_key)
"""


@serving
@pytest.mark.parametrize("served", ["django", "django under asgi"])
def test_djangos_superuser_finds_the_console_open(served, site):
    # Given a superuser who has signed in to the site
    example = Example("django", site)
    assert example.run("python", "manage.py", "migrate", "--verbosity=0").returncode == 0
    example.first_sight()
    (site.docroot / "sign_in.py").write_text(SIGN_IN)
    session = example.run("python", "sign_in.py").stdout.strip()

    # When she goes to the console
    with example.served(*shlex.split(SERVED[served][1][0])) as port:
        status, page = example.get(port, "/tasks/", Cookie=f"sessionid={session}")

    # Then she sees the tasks, and may steer them
    assert (status, "Stocktaking" in page, "Hold everything" in page) == (200, True, True), page


#: The program ``flask``, whose reloader looks at the files itself: where many others save, inotify loses some.
FLASK_BY_STAT = """\
from flask.cli import main
from werkzeug import _reloader

_reloader.reloader_loops["auto"] = _reloader.reloader_loops["stat"]
main()
"""


@serving
def test_flasks_reloader_runs_nothing_twice(site):
    # Given the example under `flask run --debug`, which has a process that watches and one that serves
    example = Example("flask", site)
    (site.docroot / "flask_by_stat.py").write_text(FLASK_BY_STAT)
    first_sight = example.first_sight()
    assert example.says("flask --app shop run --debug")
    with example.served("python", "flask_by_stat.py", "--app", "shop", "run", "--debug") as port:
        assert example.get(port, "/") == (200, "The shop is open.\n")
        example.wait_for_runs(2)

        # When the app is saved, and so served by another process
        shop = site.docroot / "shop.py"
        shop.write_text(shop.read_text().replace("is open", "is open again"))
        until(lambda: answers_again(example, port), f"it is reloaded\n{example.words()}")
        example.wait_for_runs(len(example.done()) + 2)

    # Then each fire time ran once all the same
    example.assert_each_fire_time_was_once(first_sight)


def answers_again(example: Example, port: int) -> bool:
    try:
        return example.get(port, "/") == (200, "The shop is open again.\n")
    except OSError:
        return False  # it is just between two processes


@serving
def test_djangos_runserver_sees_to_the_tasks(site):
    example = Example("django", site)
    assert example.run("python", "manage.py", "migrate", "--verbosity=0").returncode == 0
    first_sight = example.first_sight()
    assert example.says("python manage.py runserver")

    with example.served("python", "manage.py", "runserver") as port:
        assert example.get(port, "/") == (200, "The shop is open.\n")
        example.wait_for_runs(2)

    example.assert_each_fire_time_was_once(first_sight)


def test_what_the_document_shows_stands_in_the_examples():
    # Given all that the examples say
    files = [path for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".ini", ".toml")]
    said = [path.read_text() for path in files]

    # Then each snippet is one of theirs, and each command too
    snippets = Document("docs/frameworks.rst").snippets("python", "ini", "toml", "console")
    assert len(snippets) >= 12
    for snippet in snippets:
        shown = [command for command, _ in snippet.commands()] if snippet.language == "console" else [snippet.text]
        for text in shown:
            assert any(text in words for words in said), text
