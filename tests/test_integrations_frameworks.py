"""Flask, Django and paste: what their settings say, what they refuse, and their commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from examples import EXAMPLES, Example
from flask import Flask

from dracotask.errors import ConfigError, DocrootNotFound, DracotaskError
from dracotask.integrations.flask import DracoTask
from dracotask.integrations.options import read_options
from dracotask.integrations.paste import filter_factory
from dracotask.web.middleware import TaskMiddleware


def may_see(environ: dict[str, Any]) -> str:
    return "read"


def shop(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"open"]


# -- Settings --------------------------------------------------------------------------------------


def test_settings_are_read_as_values_and_as_text():
    said = {"docroot": "/srv", "console": "", "authorize": f"{__name__}:may_see", "idle_tick": "off"}

    assert read_options(said, "here") == {"docroot": "/srv", "console": None, "authorize": may_see, "idle_tick": False}
    assert read_options({"authorize": may_see, "idle_tick": True}, "here") == {"authorize": may_see, "idle_tick": True}
    assert read_options({"authorize": f"{__name__}.may_see"}, "here") == {"authorize": may_see}


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("consol", "/tasks", "here: unknown key 'consol'. Did you mean console?"),
        ("idle_tick", "perhaps", "here: idle_tick = 'perhaps' cannot be: it must be true or false."),
        ("authorize", "no.such.module", "here: authorize = 'no.such.module' cannot be: No module named"),
        ("authorize", "json:nothing", "here: authorize = 'json:nothing' cannot be: module 'json' has no"),
        ("authorize", 7, "here: authorize = 7 cannot be: it must be a function of environ."),
        ("docroot", "", "here: docroot = '' cannot be: it is the folder with __tasks__.py."),
    ],
)
def test_settings_that_make_no_sense_are_refused(key, value, words):
    with pytest.raises(ConfigError) as refused:
        read_options({key: value}, "here")

    assert str(refused.value).startswith(words)


# -- paste -----------------------------------------------------------------------------------------


def test_the_filter_goes_by_the_ini_files_folder(tmp_path):
    (tmp_path / "site").mkdir()

    plain = filter_factory({"here": str(tmp_path)})(shop)
    below = filter_factory({"here": str(tmp_path)}, docroot="site", idle_tick="false")(shop)

    assert isinstance(plain, TaskMiddleware) and plain.app is shop
    assert (plain.docroot, plain.idle_tick) == (str(tmp_path), True)
    assert (below.docroot, below.idle_tick) == (str(tmp_path / "site"), False)
    with pytest.raises(ConfigError, match=r"Did you mean docroot\?"):
        filter_factory({}, docrot="site")


# -- Flask -----------------------------------------------------------------------------------------


def test_an_app_is_wrapped_as_its_configuration_says(tmp_path):
    # Given an app factory's extension, and two apps
    tasks, other, plain = DracoTask(), Flask("other"), Flask("plain", root_path=str(tmp_path))
    other.config.from_mapping(DRACOTASK_DOCROOT=tmp_path, DRACOTASK_IDLE_TICK=False, DRACOTASK_ENABLED="0")
    # (Of a whole environment in it, that of a run or of an alert's command at that.)
    other.config.from_mapping(DRACOTASK_TIME_LIMIT="5m", DRACOTASK_RUN="01m7", DRACOTASK_ALERT_TASK="Report")

    # When it is told of them
    for app in (other, plain):
        tasks.init_app(app)

    # Then each has its own middleware
    assert (other.wsgi_app.docroot, other.wsgi_app.idle_tick) == (str(tmp_path), False)
    assert (plain.wsgi_app.docroot, plain.wsgi_app.idle_tick) == (str(tmp_path), True)
    assert plain.extensions["dracotask"] is plain.wsgi_app is not other.wsgi_app
    with pytest.raises(DracotaskError, match="has one already"):
        DracoTask(plain)


def test_an_app_that_names_no_folder_is_refused(tmp_path):
    app = Flask("shop")
    app.config["DRACOTASK_DOCROOT"] = tmp_path / "nowhere"

    with pytest.raises(DocrootNotFound):
        DracoTask(app)


def test_an_apps_own_command_of_that_name_stays():
    app = Flask("shop", root_path=str(EXAMPLES / "flask"))
    mine = app.cli.command("tasks")(lambda: None)

    DracoTask(app)

    assert app.cli.commands["tasks"] is mine


def test_flasks_command_is_the_program_with_its_exit_codes(site):
    # Given an app with a task, and who runs its commands within a test
    site.write("class Report(Task):", "    def run(self):", "        print('printed')", "        return 'sent'")
    app = Flask("shop", root_path=str(site.docroot))
    DracoTask(app)

    def flask(*words: str) -> Any:
        return app.test_cli_runner(env={"DRACOTASK_TEST_MARK": site.mark}).invoke(args=["tasks", *words])

    # Then it does what the program does
    assert (flask("Report").exit_code, flask("run", "Report").output) == (0, "printed\n")
    assert [run["summary"] for run in json.loads(flask("runs", "--json").output)] == ["sent", "sent"]
    assert "Report" in flask().output
    assert flask("hold", "Report", "--why", "a test").exit_code == 0 and site.schedule("Report").held_why == "a test"
    assert flask("Report").exit_code == 75
    wrong = flask("Reprot")
    assert (wrong.exit_code, wrong.output.count("Did you mean Report?")) == (2, 1)
    assert "--even-if-held" in flask("run", "--help").output

    # And what is printed in no encoding is shown as far as it goes
    site.write("import os", "class Report(Task):", "    def run(self): os.write(1, b'caf\\xe9')")
    assert flask("run", "--even-if-held", "Report").output == "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_interrupted_ends_as_the_program_does(site, number):
    # Given a task that is run by flask's command
    example = Example("flask", site)
    site.write("class Slow(Task):", "    def run(self):", "        tell(self)", "        wait_at_gate()")
    command = [*["flask", "--app", "shop", "tasks", "Slow"]]
    process = subprocess.Popen(
        command, cwd=site.docroot, env=example.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    site.wait_for("start")

    # When the terminal tells both processes, or a service manager one
    (program,) = children_of(process.pid) if number == signal.SIGINT else (process.pid,)
    for pid in {process.pid, program}:
        os.kill(pid, number)

    # Then the run is stopped in good order
    assert process.wait(30) == 130
    assert site.last_run().state == "stopped"


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# -- Django ----------------------------------------------------------------------------------------

#: Asks of a Django project what only a process of its own can: Django is set up once in each.
ASKED = """\
import io, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django
django.setup()
from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.models import Permission
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from dracotask.integrations.django import staff_only
from dracotask.errors import DracotaskError

settings.DRACOTASK["permission"] = "auth.change_user"
users = get_user_model().objects

def role(user):
    request = HttpRequest()
    request.session = SessionStore()
    login(request, user)
    request.session.save()
    return staff_only({
        "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(),
        "HTTP_COOKIE": f"sessionid={request.session.session_key}",
    })

users.create_user("visitor")
users.create_user("clerk", is_staff=True)
users.create_user("steward", is_staff=True).user_permissions.add(Permission.objects.get(codename="change_user"))
users.create_superuser("root")
told = {user.username: role(user) for user in users.all()}
told["nobody"] = staff_only({"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()})
told["forged"] = staff_only({"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), "HTTP_COOKIE": "sessionid=forged"})
print(json.dumps(told))
"""


@pytest.fixture
def project(site) -> Example:
    example = Example("django", site)
    assert example.run("python", "manage.py", "migrate", "--verbosity=0").returncode == 0
    return example


def test_djangos_staff_may_see_the_console_and_some_may_steer(project):
    (project.site.docroot / "ask.py").write_text(ASKED)

    ended = project.run("python", "ask.py")

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "visitor": None, "clerk": ["read", "clerk"], "steward": ["write", "steward"],
        "root": ["write", "root"], "nobody": None, "forged": None,
    }  # fmt: skip


def test_manage_py_is_the_program_with_its_exit_codes(project):
    # Then a word of manage.py's own is none of the program's
    assert project.run("python", "manage.py", "tasks", "Stocktaking", "--settings=shop.settings").returncode == 0
    shown = project.run("python", "manage.py", "tasks", "runs", "--json")
    assert [run["summary"] for run in json.loads(shown.stdout)] == ["all there, 0 users"]
    wrong = project.run("python", "manage.py", "tasks", "Stocktakin")
    assert (wrong.returncode, "Did you mean Stocktaking?" in wrong.stderr) == (2, True)
    assert "Scheduled tasks" in project.run("python", "manage.py", "help", "tasks").stdout


def test_a_django_task_finds_django_also_when_cron_starts_it(project):
    # Given the environment of cron, where nothing speaks of Django
    ended = project.run("dracotask", ".", "Stocktaking")

    assert ended.returncode == 0, ended.stderr
    assert project.site.last_run().summary == "all there, 0 users"


def test_the_command_may_be_called_from_code(project):
    (project.site.docroot / "call.py").write_text(
        "import os\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'\n"
        "import django; django.setup()\n"
        "from django.core.management import CommandError, call_command\n"
        "call_command('tasks', 'hold', 'Stocktaking')\n"
        "try:\n    call_command('tasks', 'Stocktaking')\n"
        "except CommandError as error:\n    print(error, error.returncode)\n"
    )
    project.first_sight()

    ended = project.run("python", "call.py")

    assert ended.stdout.splitlines()[-1] == "tasks: exit code 75 75", ended.stderr


def test_settings_of_django_that_make_no_sense_are_told_in_a_sentence(project):
    settings = project.site.docroot / "shop" / "settings.py"
    settings.write_text(settings.read_text().replace('"console"', '"consle"'))

    ended = project.run("python", "manage.py", "tasks")

    assert ended.returncode == 2
    assert ended.stderr.strip() == "dracotask: settings.DRACOTASK: unknown key 'consle'. Did you mean console?"
