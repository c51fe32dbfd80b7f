"""What ``pip install`` lays down works, though ``dracotask.py`` has the package's name.

A script has its own folder first on ``sys.path``, so the ``import dracotask`` of a gunicorn that lies in
the same bin folder finds dracotask.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest

CHECKOUT = Path(__file__).parent.parent
SETTINGS = ConfigParser()
SETTINGS.read(CHECKOUT / "setup.cfg")
VERSION = SETTINGS["metadata"]["version"]

#: What a wheel is built from.
INGREDIENTS = ("setup.cfg", "pyproject.toml", "LICENSE", "README.rst", "bin", "dracotask")

#: What an importer of the package sees; the site of each server test answers it as JSON.
SEEN = """\
import json, sys
import dracotask
from dracotask import Task

SEEN = json.dumps({"file": dracotask.__file__, "task": Task.__module__, "version": dracotask.__version__})
"""

SITE = f"""\
{SEEN}
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [SEEN.encode()]
"""


class Venv:
    """A fresh venv with the package's wheel in it, as pip lays it down."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.python = folder, folder / "bin", folder / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (self.packages,) = folder.glob("lib/python*/site-packages")

    def install(self, wheel: Path) -> None:
        pip("--python", self.python, "install", "--no-deps", "--no-index", wheel)
        # Everything else is borrowed from the venv of the tests. Entries of a .pth file come last,
        # and .pth files of the lender, such as that of an editable dracotask, are not read.
        borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (self.packages / "borrowed.pth").write_text("\n".join(borrowed))

    def script(self, name: str) -> list[object]:
        """Return the command for a console script laid down beside ours, in pip's manner."""
        (entry,) = {entry.value: entry for entry in entry_points(group="console_scripts", name=name)}.values()
        lines = ["import sys", f"from {entry.module} import {entry.attr}", f"sys.exit({entry.attr}())", ""]
        (self.bin / name).write_text("\n".join(lines))
        return [self.python, self.bin / name]

    def sees_the_package(self, answer: str | bytes) -> bool:
        """Return True if an importer's answer speaks of the package in this venv."""
        seen = json.loads(answer)
        package = self.packages / "dracotask" / "__init__.py"
        return seen == {"file": str(package), "task": "dracotask.tasks", "version": VERSION}


def pip(*arguments: object) -> None:
    # Nothing of the machine's own pip settings, and no network.
    options = ["--isolated", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", *options, *map(str, arguments)], check=True, timeout=120)


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "timeout": 60, "env": clean_environment(), **options}
    return subprocess.run(list(map(str, command)), **options)


@pytest.fixture(scope="module")
def venv(tmp_path_factory) -> Venv:
    # Built from a copy, for setuptools leaves a build folder where it works.
    source = tmp_path_factory.mktemp("source")
    for name in INGREDIENTS:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (CHECKOUT / name).exists():
            shutil.copy(CHECKOUT / name, source / name)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", source, source)
    (wheel,) = source.glob("*.whl")
    venv = Venv(tmp_path_factory.mktemp("installed") / "venv")
    venv.install(wheel)
    return venv


@contextmanager
def serving(command: list[object], folder: Path) -> Iterator[str]:
    """Start a server, yield the address that it tells, and end it."""
    server = subprocess.Popen(
        list(map(str, command)), cwd=folder, env=clean_environment(), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    # A server that never tells its address is ended, which ends its output too.
    limit = threading.Timer(30, server.kill)
    limit.start()
    try:
        told = []
        for line in server.stdout:
            told.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield address[0]
                break
        else:
            pytest.fail("The server told no address:\n" + "".join(told))
    finally:
        limit.cancel()
        server.terminate()
        server.communicate(timeout=30)


def read(address: str) -> bytes:
    with urlopen(address, timeout=30) as response:
        return response.read()


@pytest.mark.server
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("gunicorn", ["--bind", "127.0.0.1:0", "wsgi:app"]),
        ("gunicorn", ["--bind", "127.0.0.1:0", "--preload", "--worker-class", "gevent", "wsgi:app"]),
        ("flask", ["--app", "wsgi:app", "run", "--port", "0"]),
    ],
    ids=["gunicorn", "gunicorn with gevent", "flask"],
)
def test_a_server_installed_beside_the_script_imports_the_package(venv, tmp_path, name, arguments):
    # Given a site that imports dracotask; flask asks for an app of its own kind
    (tmp_path / "wsgi.py").write_text(SITE)
    if name == "flask":
        flask_site = f"from flask import Flask\n{SEEN}\napp = Flask(__name__)\napp.route('/')(lambda: SEEN)\n"
        (tmp_path / "wsgi.py").write_text(flask_site)

    # When a server from the same bin folder serves it
    with serving([*venv.script(name), *arguments], tmp_path) as address:
        answer = read(address)

    # Then it has the installed package, and not the script
    assert venv.sees_the_package(answer)


def test_pytest_installed_beside_the_script_imports_the_package(venv, tmp_path):
    (tmp_path / "test_site.py").write_text(f"{SEEN}\ndef test_it():\n    print('SEEN', SEEN)\n")

    ended = run(*venv.script("pytest"), "-s", "-p", "no:cacheprovider", "test_site.py", cwd=tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert venv.sees_the_package(re.search("SEEN (.*)", ended.stdout)[1])


@pytest.mark.server
def test_a_new_user_comes_to_a_runs_page_by_four_commands(venv, tmp_path):
    # Given the commands of the README, of which the first has been given
    readme = (CHECKOUT / "README.rst").read_text()
    block = readme.partition("four commands")[2].partition("Behind it")[0]
    commands = re.findall(r"^    \$ (.*)$", block, re.MULTILINE)
    assert commands.pop(0) == "pip install dracotask" and len(commands) == 3
    environ = {**clean_environment(), "PATH": f"{venv.bin}:{os.environ['PATH']}"}

    # When the others are given, in an empty folder
    for command in commands[:-1]:
        ended = run(*command.split(), cwd=tmp_path, env=environ)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    server = subprocess.Popen(commands[-1].split(), cwd=tmp_path, env=environ, text=True, stdout=subprocess.PIPE)
    try:
        link = next(line.strip() for line in server.stdout if "sign-in?token=" in line)
        browser = build_opener(HTTPCookieProcessor())
        door = browser.open(link).read().decode()
        token = re.search(r'name="token" value="([^"]+)"', door)[1]
        home = link.partition("sign-in")[0]
        entering = Request(f"{home}sign-in", f"token={token}".encode(), {"Sec-Fetch-Site": "same-origin"})
        browser.open(entering)

        # Then the link leads to a task that was run, and that to a run with its output
        runs = json.load(browser.open(f"{home}runs.json?schedule=Hello"))
        page = browser.open(f"{home}runs/{runs[0]['id']}").read().decode()
        assert "Hello from dracotask." in page and "ok, " in page
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)


@pytest.mark.parametrize("spelling", ["{bin}", "{bin}/", "{bin}/../bin", "link", ".", ""])
def test_the_script_hands_over_however_its_folder_is_spelled(venv, tmp_path, spelling):
    # Given the bin folder first on sys.path, and once more under its plain name
    (tmp_path / "link").symlink_to(venv.bin)
    folder = venv.bin if spelling in (".", "") else tmp_path
    path = [spelling.format(bin=venv.bin), str(venv.bin)]

    # When somebody imports dracotask
    check = "assert sys.modules['dracotask'] is dracotask"
    program = f"import sys\nsys.path[:0] = {path}\n{SEEN}\n{check}\nprint(SEEN)"
    ended = run(venv.python, "-c", program, cwd=folder)

    # Then it is the package
    assert ended.returncode == 0, ended.stderr
    assert venv.sees_the_package(ended.stdout)


def write_task(docroot: Path, *body: str) -> None:
    lines = ["import helper", "from dracotask import Task", "class Telling(Task):", "    def run(self):"]
    (docroot / "__tasks__.py").write_text("\n".join([*lines, *(f"        {line}" for line in body), ""]))
    (docroot / "helper.py").write_text(f"{SEEN}\ndef seen(_=None):\n    return SEEN\n")


def told_by(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return re.search("SEEN (.*)", ended.stdout)[1]


@pytest.mark.parametrize("name", ["dracotask", "dracotask.py"])
def test_both_names_of_the_program_run_a_task(venv, tmp_path, name):
    write_task(tmp_path, "print('SEEN', helper.seen())")

    ended = run(venv.bin / name, tmp_path, "Telling")

    assert venv.sees_the_package(told_by(ended))


def test_the_script_of_a_checkout_brings_its_own_package(venv, tmp_path):
    # Given a checkout whose script is called by a symbolic link, and another dracotask installed
    write_task(tmp_path, "print('SEEN', helper.seen())")
    (tmp_path / "link.py").symlink_to(CHECKOUT / "bin" / "dracotask.py")

    # When it runs a task
    ended = run(venv.python, tmp_path / "link.py", tmp_path, "Telling")

    # Then the task has the package of the checkout
    assert json.loads(told_by(ended))["file"] == str(CHECKOUT / "dracotask" / "__init__.py")


def test_a_task_may_use_processes_that_multiprocessing_spawns(venv, tmp_path):
    # Given a task with a pool of spawned processes, each of which runs the script as __mp_main__
    write_task(
        tmp_path,
        "import multiprocessing",
        "with multiprocessing.get_context('spawn').Pool(1) as pool:",
        "    print('SEEN', pool.map(helper.seen, [1])[0])",
    )

    # When it runs
    ended = run(venv.bin / "dracotask.py", tmp_path, "Telling")

    # Then the child has the package, and has not begun a program of its own
    assert venv.sees_the_package(told_by(ended))
