"""What ``check`` finds, each with its remedy."""

from __future__ import annotations

import copy
import json
import os
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sites import Site

from dracotask.cli.invocation import Invocation
from dracotask.cli.serve import wrapped_in
from dracotask.report.checkfiles import check_file_system, check_room, first_link
from dracotask.state import lock
from dracotask.web.middleware import TaskMiddleware

HELLO = """\
class Hello(Task):
    def __init__(self):
        self.schedule(hour=3)

    def run(self):
        return "greeted"
"""


@pytest.fixture
def shop(site: Site) -> Site:
    site.write(HELLO)
    return site


def findings(site: Site, *options: str, **run_options) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit code of a check, and its findings; of several about one thing the last."""
    ended = site.run("check", "--json", *options, **run_options)
    assert ended.stderr == ""
    return ended.returncode, {each["what"]: each for each in json.loads(ended.stdout)["findings"]}


def test_a_site_in_order_has_no_problem(shop):
    # When a new site is checked
    ended = shop.run("check")

    # Then all is told: what is loaded, what is in force, and the line for cron
    assert ended.returncode == 0, ended.stdout
    assert "Hello (daily 03:00)" in ended.stdout
    assert re.search(r"^  max_running +4 +default$", ended.stdout, re.MULTILINE)
    assert re.search(rf"^  \* \* \* \* \* /\S+ /\S*dracotask\.py {shop.docroot} due$", ended.stdout, re.MULTILINE)
    assert "location ~ " in ended.stdout
    assert ended.stdout.endswith("No problem found.\n")


def test_the_line_for_cron_works_as_it_is_printed(shop):
    # Given the line that check prints
    line = json.loads(shop.run("check", "--json").stdout)["cron_line"]
    shop.make_due("Hello")

    # When a shell runs it with cron's poor environment
    command = line.removeprefix("* * * * * ")
    ended = shop.start(program=["env", "-i", "/bin/sh", "-c", command, "sh"])
    ended.communicate(timeout=60)

    # Then what was due has run
    assert ended.returncode == 0
    assert shop.last_run("Hello").state == "succeeded"


def test_a_percent_sign_in_the_path_is_kept_from_cron(tmp_path):
    (tmp_path / "50% off").mkdir()

    from dracotask.report.cronline import cron_line

    assert cron_line(Invocation(str(tmp_path / "50% off"))).endswith("/50\\% off' due")


def test_a_broken_task_file_is_a_problem_with_its_line(shop):
    shop.write("class Hello(Task: pass")

    code, found = findings(shop)

    assert code == 1
    assert found["tasks"]["status"] == "problem"
    assert re.search(r"line \d+: SyntaxError", found["tasks"]["fact"])


def test_a_site_without_a_task_file_is_a_problem(site):
    code, found = findings(site)

    assert (code, found["tasks"]["status"]) == (1, "problem")
    assert "init" in found["tasks"]["remedy"]


def test_values_come_with_their_origin(shop):
    shop.put("dracotask.toml", 'max_running = 2\ntime_limit = "90s"\n')

    ended = shop.run("check", env={"DRACOTASK_KEEP_RUNS": "7"})

    assert re.search(r"^  max_running +2 +dracotask\.toml$", ended.stdout, re.MULTILINE)
    assert re.search(r"^  time_limit +1m 30s +dracotask\.toml$", ended.stdout, re.MULTILINE)
    assert re.search(r"^  keep_runs +7 +DRACOTASK_KEEP_RUNS$", ended.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "variable, what, words",
    [
        ({"DRACOTASK_TIMEZONE": "Mars/Base"}, "timezone", "Mars/Base is no time zone"),
        ({"DRACOTASK_MAX_RUNNING": "many"}, "config", "DRACOTASK_MAX_RUNNING"),
        ({"DRACOTASK_PYTHON": "/nowhere/python"}, "python", "/nowhere/python cannot run dracotask"),
    ],
)
def test_a_value_that_makes_no_sense_is_a_problem(shop, variable, what, words):
    code, found = findings(shop, env=variable)

    assert (code, found[what]["status"]) == (1, "problem")
    assert words in found[what]["fact"]


def test_a_site_that_is_switched_off_is_a_warning(shop):
    shop.put("dracotask.toml", "enabled = false\n")

    code, found = findings(shop)

    assert (code, found["enabled"]["status"]) == (0, "warning")


def test_a_look_lately_is_well_and_none_is_a_warning(shop):
    assert findings(shop)[1]["looks"]["status"] == "warning"

    shop.due()

    assert findings(shop)[1]["looks"]["status"] == "ok"


def test_slots_that_are_all_busy_are_a_warning(shop):
    # Given a site whose only slot is taken
    shop.run("load")
    held = lock(shop.state.slot(1))

    # When it is checked
    code, found = findings(shop, env={"DRACOTASK_MAX_RUNNING": "1"})

    # Then that is told, for what is due waits
    os.close(held)
    assert (code, found["slots"]["fact"]) == (0, "all slots are busy (1)")


def test_others_who_may_look_into_the_state_folder_are_a_warning(shop):
    shop.run("load")
    os.chmod(shop.state.path, 0o755)

    found = findings(shop)[1]["mode"]

    assert (found["status"], found["remedy"]) == ("warning", f"chmod 700 {shop.state.path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")
def test_another_user_is_a_problem_and_loads_nothing(shop):
    shop.run("load")
    os.chown(shop.state.path, 1, 1)

    code, found = findings(shop)

    os.chown(shop.state.path, 0, 0)
    assert (code, found["user"]["status"], found["tasks"]["status"]) == (1, "problem", "warning")
    assert "sudo -u daemon " in found["user"]["remedy"]


def test_a_docroot_behind_a_symbolic_link_is_a_warning_unless_the_state_lies_elsewhere(shop, tmp_path):
    # Given a site that is deployed by turning a link
    (tmp_path / "current").symlink_to(shop.docroot)
    linked = copy.copy(shop)
    linked.docroot = tmp_path / "current"

    # When it is checked through the link
    _, found = findings(linked)
    _, moved = findings(linked, env={"DRACOTASK_STATE": str(tmp_path / "state")})

    # Then that is told, for the state goes with the link
    assert found["path"]["fact"] == f"{tmp_path}/current is a symbolic link"
    assert "path" not in moved


def test_the_outermost_link_of_a_path_is_named(tmp_path):
    (tmp_path / "real" / "site").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert first_link(str(tmp_path / "link" / "site")) == str(tmp_path / "link")
    assert first_link(os.path.realpath(tmp_path)) is None


@pytest.mark.parametrize(
    "kind, status", [("ext4", "ok"), ("nfs4", "problem"), ("fuse.sshfs", "problem"), ("overlay", "warning"), ("", "ok")]
)
def test_file_systems_are_judged(kind, status):
    (found,) = check_file_system(kind, "/srv/shop/.dracotask")

    assert found.status == status


@pytest.mark.parametrize(
    "free, inodes, status",
    [(1 << 40, None, "ok"), (1 << 40, 0, "problem"), (100 << 20, 5, "warning"), (1 << 20, 5, "problem")],
)
def test_room_is_judged(free, inodes, status):
    (found,) = check_room(free, inodes, "/srv/shop/.dracotask")

    assert found.status == status


# -- Asked as a stranger would ------------------------------------------------------------------------


class Careless(SimpleHTTPRequestHandler):
    """A front server that hands out every file."""

    def log_message(self, *arguments):
        pass


class Careful(Careless):
    """A front server that denies what it should."""

    def do_GET(self):
        self.send_error(404)


@pytest.fixture
def front_server(shop):
    """Start a server over the docroot and return its address."""
    servers = []

    def start(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(shop.docroot)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("handler, code, status", [(Careless, 1, "problem"), (Careful, 0, "ok")])
def test_private_files_that_are_handed_to_strangers_are_a_problem(shop, front_server, handler, code, status):
    found_code, found = findings(shop, "--url", front_server(handler))

    assert (found_code, found["served"]["status"]) == (code, status)


def test_an_address_where_nobody_answers_is_a_problem(shop):
    code, found = findings(shop, "--url", "http://127.0.0.1:1/")

    assert (code, found["served"]["status"]) == (1, "problem")


def test_only_web_addresses_are_asked(shop):
    code, found = findings(shop, "--url", f"file://{shop.docroot}")

    assert (code, found["served"]["status"]) == (1, "problem")


# -- Is it wrapped already? -----------------------------------------------------------------------------


def test_a_wrapped_application_is_recognised_within_its_framework(tmp_path):
    # Given an application whose framework calls a wrapped one
    class Framework:
        def __init__(self):
            self.wsgi_app = self.inner

        def inner(self, environ, start_response):
            return []

        def __call__(self, environ, start_response):
            return self.wsgi_app(environ, start_response)

    bare, wrapped = Framework(), Framework()
    wrapped.wsgi_app = middleware = TaskMiddleware(wrapped.wsgi_app, tmp_path)

    # Then it is found, and in a bare one is none
    assert wrapped_in(wrapped) is middleware
    assert wrapped_in(middleware) is middleware
    assert wrapped_in(bare) is None
