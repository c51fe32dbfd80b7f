"""The documents are valid and say what is so: what they show is run, and their tables are compared."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from rst import CHECKOUT, Document, Snippet
from sites import Site, until

from dracotask.cli.commands import commands
from dracotask.cli.running import COMMANDS, EXITS
from dracotask.keys import ALERT_KEYS, ALL_KEYS, KEYS, POLICY_KEYS
from dracotask.model import ACTIVE, ENDED, NEVER_STARTED, VERBS
from dracotask.report.reading import RUN_KEYS
from dracotask.triggers import parse_trigger
from dracotask.triggers.cron import CronTrigger
from dracotask.triggers.draco import from_draco
from dracotask.triggers.words import describe

DOCUMENTS = ["README.rst", "CHANGELOG.rst", *sorted(f"docs/{path.name}" for path in (CHECKOUT / "docs").glob("*.rst"))]

#: The docroot that the documents speak of where they deploy one.
SHOP = "/srv/shop"

document = cache(Document)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_valid_and_its_links_lead_somewhere(name):
    # Parsing alone is strict.
    links = document(name).links()

    for link in links:
        if not re.match(r"https?://|mailto:|#", link):
            assert (CHECKOUT / name).parent.joinpath(link.partition("#")[0]).is_file(), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_snippets_are_what_they_are_said_to_be(name, tmp_path):
    for snippet in document(name).snippets():
        match snippet.language:
            case "python":
                compile(snippet.text, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            case "toml":
                tomllib.loads(snippet.text)
            case "ini":
                ConfigParser(strict=True, interpolation=None).read_string(snippet.text)
            case "shell":
                assert list(snippet.commands())


# -- Stories: each snippet in its file, each command in a shell ----------------------------------


class Shell:
    """A terminal in the docroot of a site, in which a document is followed from top to bottom."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.server: subprocess.Popen[str] | None = None
        self.address = ""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("DRACOTASK_", "PYTEST_"))},
            "PATH": path, "LC_ALL": "C.UTF-8", "TZ": "Europe/Paris", "DRACOTASK_TEST_MARK": site.mark,
        }  # fmt: skip

    def follow(self, snippet: Snippet) -> None:
        """Do what a snippet says: write it into its file, or give its commands."""
        if snippet.language == "shell":
            given = [*snippet.commands()]
            # Readers sleep; a test looks again.
            patience = 60.0 if any(command.startswith("sleep ") for command, _ in given) else 0.0
            for command, output in given:
                self.give(command, output, patience)
        elif snippet.file:
            self.site.put(snippet.file, snippet.text + "\n")

    def give(self, command: str, output: str, patience: float) -> None:
        if command == "pip install dracotask":
            assert shutil.which("dracotask", path=self.environment["PATH"]), "bin/test has installed it"
        elif re.match(r"dracotask \S+ serve\b", command):
            self.serve(command)
        elif not command.startswith("sleep "):
            end = time.monotonic() + patience
            while not self.prints(command, output, is_final=time.monotonic() >= end):
                time.sleep(0.1)

    def prints(self, command: str, output: str, *, is_final: bool) -> bool:
        """Tell whether a command succeeds and prints that; when ``is_final`` it must."""
        ended = self.ended(command)
        is_right = ended.returncode == 0 and is_like(ended.stdout, output)
        assert is_right or not is_final, f"$ {command}\n{ended.stdout}\n-- and not --\n{output}"
        return is_right

    def run(self, command: str) -> str:
        """Return what a command prints; it must succeed."""
        ended = self.ended(command)
        assert ended.returncode == 0, f"$ {command}\n{ended.stdout}"
        return ended.stdout

    def ended(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], cwd=self.site.docroot, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip

    def serve(self, command: str) -> None:
        command = re.sub(r" --port \d+", "", command)
        self.server = subprocess.Popen(
            ["bash", "-c", f"exec {command} --port 0"], cwd=self.site.docroot, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.server.stdout is not None
        told = self.server.stdout.readline()
        address = re.search(r"http://\S+", told)
        assert address, told
        self.address = address[0]

    def end(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            self.server.communicate(timeout=60)


def is_like(said: str, expected: str) -> bool:
    """Tell whether a command printed what a document shows; nothing shown is everything accepted."""
    if not expected.strip():
        return True
    pattern = re.escape(plain(expected)).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, plain(said), re.S) is not None


def plain(text: str) -> str:
    """Return a text less what differs from one time to the next: moments, durations, run ids, widths."""
    text = re.sub(r"\b[0-9a-z]{26}\b", "ID", text)
    text = re.sub(r"\b(?:tomorrow |yesterday )?\d\d:\d\d(?::\d\d)?\b", "T", text)
    text = re.sub(r"\b\d+(?:\.\d+)?(?:ms|s|m|h)\b", "N", text).replace("due now", "T, in N")
    lines = [re.sub(r" +", " ", line).strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line)


@pytest.fixture
def shell(site: Site) -> Iterator[Shell]:
    shell = Shell(site)
    yield shell
    shell.end()


@pytest.mark.server
def test_the_tutorial_can_be_followed_from_top_to_bottom(shell):
    for snippet in document("docs/tutorial.rst").snippets():
        shell.follow(snippet)

    assert shell.address


@pytest.mark.server
def test_the_start_of_the_readme_leads_to_a_site_that_is_served(shell):
    for snippet in document("README.rst").snippets("shell", "python"):
        shell.follow(snippet)

    with urlopen(shell.address, timeout=60) as answer:
        assert answer.read() == b"Hello\n"


def test_the_commands_of_the_checkout_are_there():
    (block,) = [snippet for snippet in document("README.rst").snippets("") if "bin/" in snippet.text]

    for line in block.text.splitlines():
        assert os.access(CHECKOUT / line.split()[0], os.X_OK)


def test_the_list_in_the_readme_is_that_of_the_example(shell):
    # Given the list as the README shows it
    (block,) = [snippet for snippet in document("README.rst").snippets("text") if "TASK  " in snippet.text]
    (command, shown), *_ = block.commands()
    shutil.copytree(CHECKOUT / "example_docroot", shell.site.docroot / "example_docroot")

    # When one asks for the real one
    shell.run("dracotask example_docroot load")
    said = shell.run(command)

    # Then it has the same columns, and the same tasks with the same schedules
    columns = re.compile(r"^[^\w]*(\w+)  +(\S.*?)(?:  .*)?$", re.M)
    assert shown.splitlines()[0].split() == said[said.index("TASK") :].splitlines()[0].split()
    told = dict(columns.findall(said))
    for task, schedule in columns.findall(shown):
        if task != "8":
            assert told[task] == schedule
    assert "8 tasks" in shown and "8 tasks" in said


# -- Deploying -------------------------------------------------------------------------------------


def of_file(name: str) -> str:
    """Return the snippet of the README that is the file ``name``."""
    (snippet,) = [snippet for snippet in document("README.rst").snippets("python", "ini") if snippet.file == name]
    return snippet.text


@pytest.fixture
def shop(site: Site) -> Site:
    """Return the site of the README, with a task that is due at once."""
    site.put("wsgi.py", of_file("wsgi.py"))
    site.put("__tasks__.py", of_file("__tasks__.py").replace("hour=3", "every=1"))
    return site


def served_by(site: Site, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=site.docroot, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "DRACOTASK_TEST_MARK": site.mark},
    )  # fmt: skip


def has_run(site: Site) -> bool:
    return os.path.exists(site.state.store_file) and any(run.state == "succeeded" for run in site.runs())


@pytest.mark.server
def test_with_the_readmes_file_gunicorn_starts_tasks_before_any_request(shop):
    shop.put("gunicorn.conf.py", of_file("gunicorn.conf.py"))

    server = served_by(shop, sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "wsgi:application")
    until(lambda: has_run(shop), "a task runs")

    server.terminate()
    server.wait(60)


@pytest.mark.server
@pytest.mark.skipif(not shutil.which("uwsgi"), reason="no uWSGI here")
def test_with_the_readmes_file_uwsgi_starts_tasks_once_it_has_served(shop, unused_port):
    # Given Debian's uWSGI, whose Python is a plugin and knows no venv
    shop.put("uwsgi.ini", of_file("uwsgi.ini"))
    plugin = ["--plugin", "python3"] if os.path.exists("/usr/lib/uwsgi/plugins/python3_plugin.so") else []
    paths = [str(CHECKOUT), *(path for path in sys.path if path.endswith("site-packages"))]

    # When it is started and has served one request
    server = served_by(
        shop, "uwsgi", *plugin, "--ini", "uwsgi.ini", "--http-socket", f"127.0.0.1:{unused_port}",
        *(f"--pythonpath={path}" for path in paths),
    )  # fmt: skip
    until(lambda: answers(unused_port), "uWSGI answers")

    # Then tasks run
    until(lambda: has_run(shop), "a task runs")
    server.terminate()
    server.wait(60)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return bool(answer.read() == b"Hello\n")
    except OSError:
        return False


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_readmes_units(tmp_path):
    for name in ("dracotask.service", "dracotask.timer"):
        text = of_file(name).replace(f"{SHOP}/.venv/bin/dracotask {SHOP}", "/bin/true").replace("www-data", "root")
        (tmp_path / name).write_text(text)

    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *tmp_path.glob("dracotask.*")], capture_output=True, text=True
    )

    assert [line for line in ended.stderr.splitlines() if "dracotask" in line] == []


def test_the_line_for_cron_is_that_of_check(site):
    (line,) = [snippet.text for snippet in document("README.rst").snippets("text") if snippet.text.startswith("* *")]
    ended = site.run("check")

    (told,) = re.findall(r"^  (\* \* .*)$", ended.stdout, re.M)
    shape = re.compile(r"\* \* \* \* \* (\S*/)(python[\d.]*|dracotask\.py) (\S+/dracotask\.py|\S+) (\S+ )?due")
    assert shape.fullmatch(line) and shape.fullmatch(told)


def test_the_front_server_is_told_what_check_tells(site):
    told = site.run("check").stdout

    for language in ("nginx", "apache"):
        (snippet,) = document("docs/howto.rst").snippets(language)
        assert snippet.text in told


# -- The reference, against the code ---------------------------------------------------------------


def test_the_reference_knows_every_key_and_its_default():
    reference = document("docs/reference.rst")
    tables = [reference.table("Key", first_cell=first) for first in ("timezone", "time_limit", "ping")]
    shown = tables[0] | tables[1] | tables[2]

    assert list(shown) == [*KEYS, *POLICY_KEYS, *ALERT_KEYS]
    for key, (_, default) in ALL_KEYS.items():
        said = shown[key][0]
        if default is None:
            assert not said.startswith('"')
        else:
            assert tomllib.loads(f"it = {said}")["it"] == default, key


def test_the_reference_knows_every_command_and_option():
    shown = document("docs/reference.rst").table("Command", first_cell="TASKNAME")
    del shown["TASKNAME"]

    assert [cell.split(",")[0].split()[0] for cell in shown] == list(COMMANDS)
    for cell, (_, options) in shown.items():
        command = commands.commands[cell.split(",")[0].split()[0]]
        real = {parameter.opts[0] for parameter in command.params if parameter.param_type_name == "option"}
        assert set(options.split()) == real, cell


def test_the_reference_knows_every_exit_code():
    (table,) = [table for table in document("docs/reference.rst").tables() if table[0][0] == "0"]

    assert {int(row[0]) for row in table} == {*EXITS.values(), 2}


def test_the_reference_knows_every_state():
    (table,) = [table for table in document("docs/reference.rst").tables() if table[0][0] == "queued"]

    assert [row[0] for row in table] == [*ACTIVE, *ENDED, *NEVER_STARTED]


def test_the_reference_knows_every_key_of_a_runs_json():
    text = document("docs/reference.rst").path.read_text()

    assert " ".join(RUN_KEYS) in " ".join(text.split())


def test_the_reference_knows_every_reserved_word():
    text = document("docs/reference.rst").tree.astext()

    for verb in VERBS:
        assert not verb.isidentifier() or re.search(rf"\b{verb}\b", text), verb


def test_what_the_reference_says_of_schedule_is_so():
    for call, (line, words) in document("docs/reference.rst").table("Call").items():
        trigger = CronTrigger(eval(call.replace("schedule", "from_draco", 1), {"from_draco": from_draco}))

        assert trigger.expression == line
        assert describe(trigger) == words or call == "schedule(hour=4, minute=None)"


def test_the_triggers_of_the_reference_read_back():
    for text in document("docs/reference.rst").table("Text"):
        for word, year in (("from", 2026), ("until", 2027)):
            text = text.replace(f"{word} …", f"{word} {year}-01-01T00:00:00+00:00")

        assert parse_trigger(str(parse_trigger(text))) == parse_trigger(text)
        assert "every 90s |" in text or str(parse_trigger(text)) == text


def test_the_tasks_of_the_how_to_load(site):
    # Given each snippet there that has tasks, as a task file
    tasks = [snippet.text for snippet in document("docs/howto.rst").snippets("python") if "(Task)" in snippet.text]
    assert len(tasks) >= 4
    holidays = [snippet.text for snippet in document("docs/howto.rst").snippets("text") if "Christmas" in snippet.text]
    site.put("holidays.txt", *holidays)

    # When they are loaded
    for text in tasks:
        site.put("__tasks__.py", text)
        ended = site.run("load")

        # Then nothing is wrong with them
        assert ended.returncode == 0, ended.stderr


def test_the_time_machine_of_the_how_to_says_what_is_said_of_it(site):
    # Given the site that the how-to speaks of
    site.write("class NightlyReport(Task):", "    def __init__(self): self.schedule(hour=3)", "    def run(self): pass")
    (snippet,) = (each for each in document("docs/howto.rst").snippets("python") if "simulate(" in each.text)

    # When its tests are run
    tests: dict[str, Any] = {}
    exec(snippet.text.replace(SHOP, str(site.docroot)), tests)
    stories = [tests[name] for name in tests if name.startswith("test_")]

    # Then they hold
    assert len(stories) == 3
    for story in stories:
        story()


def test_the_changelog_speaks_of_this_version():
    settings = ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")

    assert settings["metadata"]["version"] in document("CHANGELOG.rst").path.read_text()


def test_the_readme_stays_short():
    assert len(document("README.rst").path.read_text().splitlines()) <= 270
