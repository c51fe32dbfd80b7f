"""Pings and alerts, sent by real processes to a real server that keeps what it is sent."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from helpers import NOON, a_run, a_state
from sites import Site, until

from dracotask.alerts import Command, is_stale, ping, wanted
from dracotask.clock import utc_now
from dracotask.events import RunFailed, RunStarted, RunSucceeded
from dracotask.keys import redacted
from dracotask.run.alerting import KILLED, Alerting, run_command
from dracotask.siteconfig import Config
from dracotask.stores.base import LISTENERS_NOTE
from dracotask.stores.sqlite import SQLiteStore

TASKS = (
    "class Report(Task):",
    "    def run(self):",
    "        tell(self)",
    "        print('counting')",
    "        with open('mood') as mood: mood = mood.read()",
    "        if mood == 'wait': wait_at_gate()",
    "        if mood == 'retry' and self.current_run.attempt == 1: raise Retry(after=0)",
    "        if mood == 'bad': raise ValueError('no figures')",
    "        return '412 rows'",
)
HEAD = "from dracotask import Retry, Task\nfrom told import *\n"


class Request:
    """A request as it came in."""

    def __init__(self, method: str, target: str, body: bytes, kind: str) -> None:
        self.method, self.body, self.kind = method, body, kind
        self.path, query = urlsplit(target).path, urlsplit(target).query
        self.asked = {name: values[0] for name, values in parse_qs(query).items()}


class Host:
    """A server that keeps what it is sent, and answers each address as the test says.

    :ivar ways: by the path: a status, or what is called with the handler instead of an answer.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.ways: dict[str, int | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.closing = threading.Event()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                host.requests.append(Request(self.command, self.path, body, self.headers.get("Content-Type", "")))
                way = host.ways.get(urlsplit(self.path).path, 200)
                if callable(way):
                    return way(self)
                self.send_response(way)
                if way in (302, 307):
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def answer_slowly(self, path: str) -> threading.Event:
        """Let who asks for a path wait for an event."""
        may_answer = threading.Event()

        def slowly(handler: BaseHTTPRequestHandler) -> None:
            may_answer.wait(60)
            handler.send_response(200)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        self.ways[path] = slowly
        return may_answer

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """Return an address at which nobody answers: the port is taken, and not listened to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def prepare(site: Site, *settings: str, mood: str = "good") -> None:
    site.put("dracotask.toml", "\n".join(settings) + "\n")
    set_mood(site, mood)
    site.write(*TASKS, head=HEAD)


def set_mood(site: Site, mood: str) -> None:
    site.put("mood", mood)


def log(site: Site) -> str:
    file = Path(site.state.log_file)
    return file.read_text() if file.exists() else ""


def waiting(site: Site) -> int:
    with site.store() as store:
        return len(store.events(1000, None))


# -- Pings -------------------------------------------------------------------------------------


def test_an_attempt_pings_at_its_start_and_at_its_end_with_the_same_id_and_its_output(site, host):
    # Given a task with a check of its own
    prepare(site, "[task.Report]", f'ping = "{host.url}/uuid?create=1"')

    # When it runs by hand
    assert site.run("Report").returncode == 0

    # Then its check hears of both, and reads what was printed and how it ended
    start, end = host.requests
    assert (start.path, start.body) == ("/uuid/start", b"")
    assert (end.path, end.body) == ("/uuid", b"counting\nok: 412 rows\n")
    assert start.asked == end.asked and start.asked["create"] == "1" and len(start.asked["rid"]) == 36
    assert waiting(site) == 0


def test_a_ping_for_all_tasks_names_each_and_a_table_may_want_none(site, host):
    # Given one address for all, and a task that has none
    prepare(site, f'ping = "{host.url}/key/{{slug}}/{{task}}"', "[task.Quiet]", 'ping = "none"')
    site.write(*TASKS, "class Quiet(Task):", "    def run(self): pass", head=HEAD)

    # When both run
    site.run("Quiet")
    site.run("Report")

    # Then only the other is heard of
    assert host.paths() == ["/key/report/Report/start", "/key/report/Report"]


def test_what_a_tick_runs_pings_as_well_and_its_start_before_its_end(site, host):
    # Given a task that is due, and takes its time
    prepare(site, "[task.Report]", f'ping = "{host.url}/uuid"', mood="wait")
    site.write(TASKS[0], "    def __init__(self): self.schedule(every='1h')", *TASKS[1:], head=HEAD)
    site.run("load")
    site.make_due("Report")

    # When a tick runs it, then the start is heard of while it is at work
    tick = site.start("due")
    until(lambda: host.paths() == ["/uuid/start"], "the start is pinged")
    assert [run.state for run in site.runs()] == ["running"]

    # And the end when it has ended
    site.open_gate()
    assert tick.wait(60) == 0
    assert host.paths() == ["/uuid/start", "/uuid"]


def test_the_start_of_a_run_by_hand_is_pinged_while_it_is_at_work_and_a_stop_leaves_the_sender_alone(site, host):
    # Given a run by hand that waits, and a check that answers slowly
    prepare(site, "[task.Report]", f'ping = "{host.url}/uuid"', mood="wait")
    may_answer = host.answer_slowly("/uuid/start")
    site.run("load")
    process = site.start("Report")
    until(lambda: host.paths() == ["/uuid/start"], "the start is pinged")
    site.wait_for()

    # When it is stopped, with all that it has started
    site.run("stop", "Report", "--grace", "1s")
    until(lambda: site.last_run().state == "stopped", "it is stopped")

    # Then whoever sends goes on, and says of the end that it was neither well nor failed
    may_answer.set()
    process.communicate(timeout=60)
    assert host.paths() == ["/uuid/start", "/uuid/log"]
    assert host.requests[1].body.startswith(b"counting\n") and b"stopped by" in host.requests[1].body


def test_a_ctrl_c_ends_the_command_that_waits_and_not_whoever_sends(site, host):
    # Given a command whose run has failed, and an alert that is on its way for long
    prepare(site, f'alert_url = "{host.url}/hook"', mood="bad")
    may_answer = host.answer_slowly("/hook")
    process = site.start("Report", start_new_session=True)
    until(lambda: host.paths() == ["/hook"], "the alert is on its way")

    # When somebody presses Ctrl-C, of which all of the terminal's foreground hears
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)

    # Then the alert is sent all the same, and once
    may_answer.set()
    until(lambda: waiting(site) == 0, "it is sent")
    site.wait_for_silence()
    assert host.paths() == ["/hook"]


def test_a_lock_that_cannot_be_opened_keeps_no_run_from_its_work(site, host):
    # Given a site with pings, and a lock of who sends that leads nowhere
    prepare(site, f'ping = "{host.url}/{{task}}"')
    site.run("load")
    os.symlink("alerts.lock", site.state.alerts_lock)

    # When a task runs by hand, and a tick looks
    ended = site.run("Report")
    site.due()

    # Then the run does its work, and the log says what waits
    assert (ended.returncode, ended.stdout, site.last_run().state) == (0, "counting\n", "succeeded")
    assert "Pings and alerts wait for the next tick" in log(site) and waiting(site) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as only root can")
def test_root_sends_nothing_in_the_folder_of_somebody_else(site, host):
    prepare(site, f'ping = "{host.url}/{{task}}"')
    site.run("load")
    os.chown(site.state.path, 65534, 65534)
    ended = site.run("due", "--alerts")
    assert ended.returncode == 2 and "sudo -u" in ended.stderr
    assert not os.path.exists(site.state.alerts_lock)


def test_a_failure_pings_fail_and_what_is_tried_again_does_not(site, host):
    # Given a task that asks to be tried again, and then fails
    prepare(site, "[task.Report]", f'ping = "{host.url}/uuid"', mood="retry")
    site.run("Report")
    set_mood(site, "bad")
    until(lambda: site.due() or site.last_run().state == "failed", "it is tried again")

    # Then each attempt has an id of its own, and only the last has failed
    assert host.paths() == ["/uuid/start", "/uuid/log", "/uuid/start", "/uuid/fail"]
    ids = [request.asked["rid"] for request in host.requests]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert b"will be tried again" in host.requests[1].body
    assert host.requests[3].body.endswith(b"failed: ValueError: no figures\n")


def test_what_does_not_run_pings_nothing(site, host):
    prepare(site, f'ping = "{host.url}/{{task}}"')
    site.run("load")
    site.run("hold", "Report")
    assert site.run("Report").returncode == 75
    assert host.requests == [] and waiting(site) == 0


def test_a_run_whose_supervisor_was_killed_pings_that_it_failed(site, host):
    prepare(site, "[task.Report]", f'ping = "{host.url}/uuid"', mood="wait")
    site.run("load")
    process = site.start("Report")
    site.wait_for()
    until(lambda: host.paths() == ["/uuid/start"], "the start is pinged")
    process.send_signal(signal.SIGKILL)
    site.wait_for_silence()

    site.due()

    assert host.paths()[-1] == "/uuid/fail" and b"lost" in host.requests[-1].body


def test_the_body_of_a_ping_is_the_end_of_the_output_and_whole_letters():
    # Given an output of letters that take two bytes each, cut in the midst of one
    event = RunSucceeded(at=NOON, run_id="1", schedule="Report", task="Report", attempt=1, state="succeeded")
    said = ping(event, "http://x/uuid", lambda most: ("é" * 20_000).encode()[-most + 1 :])

    # Then so much is sent as is kept
    assert len(said.body) <= 10_000
    assert set(said.body.decode().splitlines()[0]) <= {"é", "\N{REPLACEMENT CHARACTER}"}
    assert said.body.endswith("é\nok\n".encode())


def test_a_ping_that_comes_an_hour_late_would_be_taken_for_news():
    event = RunStarted(at=NOON)
    assert not is_stale(event, timedelta(minutes=59)) and is_stale(event, timedelta(minutes=61))


# -- Alerts ------------------------------------------------------------------------------------


def test_people_are_told_of_the_first_failure_and_of_the_recovery_and_of_nothing_between(site, host):
    # Given a webhook for all tasks, and a console
    prepare(site, f'alert_url = "{host.url}/hook"', 'console_url = "https://www.example.org/tasks/"', 'host = "web1"')

    # When a task is well, fails twice, and is well again, twice
    for mood in ("good", "bad", "bad", "good", "good"):
        set_mood(site, mood)
        site.run("Report")

    # Then two of the five are told
    first, recovery = (json.loads(request.body) for request in host.requests)
    runs = site.runs()
    link = f"https://www.example.org/tasks/runs/{runs[1].id}"
    facts = {
        "event": "failed", "docroot": str(site.docroot), "host": "web1", "task": "Report", "schedule": "Report",
        "run_id": runs[1].id, "state": "failed", "error": "ValueError: no figures", "failures": 1, "link": link,
        "attempt": 1, "origin": "command",
        "text": f"Report on web1 ({site.docroot}) failed: ValueError: no figures {link}",
    }  # fmt: skip
    assert {name: first[name] for name in facts} == facts
    assert first["started_at"].endswith("Z") and first["finished_at"] >= first["started_at"]
    assert (recovery["event"], recovery["run_id"], recovery["failures"]) == ("recovered", runs[3].id, 2)
    assert "is well again, after it had failed 2 times in a row: 412 rows" in recovery["text"]
    assert [request.kind for request in host.requests] == ["application/json"] * 2
    assert waiting(site) == 0


def test_a_site_that_wants_no_alert_pays_for_none(site):
    prepare(site, "")
    set_mood(site, "bad")
    site.run("Report")
    assert waiting(site) == 0 and not os.path.exists(site.state.alerts_lock)


def test_a_run_that_pings_nobody_starts_no_process_for_the_pings_of_others(site, host, tmp_path):
    # Given a task without a ping beside one that has one, and interpreters that put down that they are started
    prepare(site, "[task.Other]", f'ping = "{host.url}/uuid"')
    site.run("load")
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nwith open({str(tmp_path / 'started')!r}, 'a') as file: print(sys.orig_argv[-1], file=file)\n"
    )

    # When it runs by hand
    site.run("Report", env={"PYTHONPATH": str(tmp_path)})

    # Then its own is the only one
    assert (tmp_path / "started").read_text() == "Report\n"


def test_a_command_gets_the_facts_in_the_docroot_without_a_shell(site):
    # Given a command that writes down what it is told
    site.put("tell.py", "import os, sys; json = __import__('json')\n"
             "json.dump([sys.argv[1:], sys.stdin.read(), dict(os.environ)], open('told.json', 'w'))\n")  # fmt: skip
    prepare(site, f"alert_command = \"{sys.executable} tell.py '$HOME; ls' x\"", "[env]", 'WHERE = "here"', mood="bad")

    # When a task fails
    site.run("Report")

    # Then it has them
    words, text, variables = json.loads((site.docroot / "told.json").read_text())
    assert words == ["$HOME; ls", "x"]
    assert text == variables["DRACOTASK_ALERT_TEXT"] + "\n" and "ValueError: no figures" in text
    assert variables["DRACOTASK_ALERT_EVENT"] == "failed" and variables["DRACOTASK_ALERT_STATE"] == "failed"
    assert variables["DRACOTASK_ALERT_RUN_ID"] == site.last_run().id
    assert variables["WHERE"] == "here" and "DRACOTASK_STATE" not in variables


def test_a_command_that_fails_or_is_not_there_is_told_in_the_log(site):
    prepare(site, "alert_command = \"sh -c 'echo no mailer >&2; exit 7'\"", mood="bad")
    site.run("Report")
    assert "The alert command for Report, run " in log(site)
    assert "ended with exit code 7: no mailer." in log(site)

    prepare(site, 'alert_command = "/nowhere/tell"')
    site.run("Report")
    assert "could not be started: No such file or directory." in log(site)


def test_a_command_that_hangs_is_killed_with_what_it_has_started(tmp_path):
    # Given a command that starts another, prints without end and hangs
    words = ["sh", "-c", "sleep 600 & echo $! > child; yes"]
    problem = run_command(Command("it", words, {}, "text\n" * 1000), str(tmp_path), dict(os.environ), 0.5)

    # Then nothing of it is left
    assert problem == KILLED
    child = int((tmp_path / "child").read_text())
    until(lambda: not Path(f"/proc/{child}").exists() or b") Z " in Path(f"/proc/{child}/stat").read_bytes())


def test_a_command_that_leaves_another_behind_is_not_waited_for(tmp_path):
    words = ["sh", "-c", "cat >/dev/null; (trap '' HUP; sleep 5) & echo well"]
    assert run_command(Command("it", words, {}, "text"), str(tmp_path), dict(os.environ), 60) is None


# -- Whatever happens ----------------------------------------------------------------------------


def test_a_broken_task_file_keeps_no_alert_from_going_out(site, host):
    # Given a run at work that will fail, and a file that is broken meanwhile
    prepare(site, f'alert_url = "{host.url}/hook"', mood="wait")
    site.run("load")
    process = site.start("Report")
    site.wait_for()
    site.write("this is no Python", head=HEAD)
    site.due()
    assert site.problem()

    # When it is killed
    process.send_signal(signal.SIGKILL)
    site.wait_for_silence()
    site.due()

    # Then people are told all the same
    (alert,) = (json.loads(request.body) for request in host.requests)
    assert (alert["event"], alert["state"]) == ("failed", "lost")


def test_settings_that_change_while_the_task_file_is_broken_count_at_the_next_load(site, host):
    # Given a site that wants nothing, and whose file is broken
    prepare(site, "")
    site.run("load")
    site.write("this is no Python", head=HEAD)
    site.due()

    # When it wants alerts
    site.put("dracotask.toml", f'alert_url = "{host.url}/hook"\n')
    site.due()

    # Then that is on record
    with site.store() as store:
        assert store.note(LISTENERS_NOTE) == "alerts:turn"


@pytest.mark.parametrize(("point", "times"), [("outcome_recorded", 1), ("alert_sent", 2)])
def test_an_alert_outlives_the_death_of_whoever_was_to_send_it(site, host, point, times):
    # Given a process that is killed between outcome and alert, or when it has sent it and not forgotten it yet
    prepare(site, f'alert_url = "{host.url}/hook"', mood="bad")
    site.run("load")
    site.run("Report", env={"DRACOTASK_FAILPOINT": point})
    site.wait_for_silence()
    assert waiting(site) == 1

    # When the next tick comes
    site.due()

    # Then it is sent; once more at the most
    assert host.paths() == ["/hook"] * times
    assert waiting(site) == 0


def test_a_host_that_does_not_answer_keeps_nobody_else_waiting_and_its_secret_is_not_told(site, host, nobody):
    # Given pings that lead nowhere, an alert that leads somewhere, and a listener
    prepare(site, f'ping = "{nobody}/secret/{{task}}"', f'alert_url = "{host.url}/hook"', mood="bad")
    listener = ("@on(RunFailed)", "def hear(event): open('heard', 'w').close()")
    site.write(*TASKS, *listener, head=HEAD + "from dracotask import RunFailed, on\n")
    site.run("load")

    # When a task fails
    process = site.start("Report")
    until(lambda: host.paths() and (site.docroot / "heard").exists(), "both are told")
    out, said = process.communicate(timeout=60)

    # Then the command ends as ever, and the log says what was given up
    assert (process.returncode, out) == (1, "counting\n" + out.removeprefix("counting\n"))
    assert "The ping (start) of Report, run " in log(site) and "Connection refused." in log(site)
    assert "secret" not in log(site) + said
    assert waiting(site) == 0


def test_a_variable_may_hold_the_address_and_one_that_is_not_there_is_told(site, host):
    # Given an address in a table [env], and one that nobody has said
    prepare(
        site, 'ping = "env:NO_SUCH"', 'alert_url = "env:HOOK"', "[env]", f'HOOK = "{host.url}/hook"', mood="bad"
    )  # fmt: skip
    site.run("Report")
    assert host.paths() == ["/hook"]
    assert "ping = env:NO_SUCH of Report leads nowhere: there is no variable NO_SUCH." in log(site)


def test_a_site_that_is_switched_off_tells_nobody(site, host):
    prepare(site, f'ping = "{host.url}/{{task}}"', f'alert_url = "{host.url}/hook"', "enabled = false", mood="bad")
    site.run("Report")
    assert host.requests == []


def test_a_wrong_address_is_refused_with_its_place_and_not_shown(site):
    site.put("dracotask.toml", '[task.Report]\nping = "hc.example/secret"\n')
    site.write(*TASKS, head=HEAD)
    ended = site.run("check")
    assert ended.returncode == 2
    place = f"{site.docroot}/dracotask.toml: [task.Report] ping"
    assert f"{place} = … cannot be: it must be an address like" in ended.stdout
    assert "secret" not in ended.stdout + ended.stderr


def test_check_shows_who_is_told_but_no_secret(site):
    # Given all there is, and a variable that is not there
    prepare(
        site, 'ping = "https://hc.example/secret/{task}"', 'alert_command = "mail secret"', "[task.Report]",
        'alert_url = "https://hooks.example/secret"', "[task.Other]", 'alert_url = "env:NO_SUCH"',
    )  # fmt: skip
    plain, as_json = site.run("check").stdout, site.run("check", "--json").stdout
    assert "secret" not in plain + as_json
    assert "ping https://hc.example/…, alert_command mail …, Report: alert_url https://hooks.example/…" in plain
    assert "alert_url of Other: there is no variable NO_SUCH" in plain
    assert json.loads(as_json)["config"]["ping"]["value"] == "https://hc.example/…"


def test_check_warns_of_one_address_for_all_tasks_in_a_variable_too(site):
    prepare(site, 'ping = "env:PING"', "[env]", 'PING = "https://hc.example/secret"')
    said = site.run("check").stdout
    assert "ping: what PING holds cannot be: for all tasks it needs {task} or {slug} in it" in said
    assert "secret" not in said


# -- One sender and its hosts ----------------------------------------------------------------------


class Outbox:
    """A site's state with events for whoever sends, without any process."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.state = a_state(folder)
        self.config = Config(settings)
        with self.open() as store:
            store.put_note(LISTENERS_NOTE, wanted(self.config))

    def open(self) -> SQLiteStore:
        return SQLiteStore(self.state.store_file).open()

    def put(self, schedule: str = "Report", failures: int = 1) -> None:
        run = a_run(schedule, state="failed", attempt=1, started_at=utc_now(), finished_at=utc_now(), error="no")
        with self.open() as store:
            store.tell(RunFailed.of(run, utc_now(), failures=failures))

    def send(self, **limits: object) -> None:
        options = {"call_limit": 5.0, "pauses": (0.01, 0.01), **limits}
        sender = Alerting(self.state, self.open, self.config, host="web1", environment={}, **options)
        sender.send_all()
        with self.open() as store:
            assert store.events(1, None) == []

    def log(self) -> str:
        file = Path(self.state.log_file)
        return file.read_text() if file.exists() else ""


def test_what_a_host_could_not_take_is_tried_again(tmp_path, host):
    # Given a host that answers 500 twice
    answers = [500, 503, 200]

    def better_and_better(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(answers.pop(0))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    host.ways["/hook"] = better_and_better
    outbox = Outbox(tmp_path, alert_url=f"{host.url}/hook")
    outbox.put()
    outbox.send()
    assert host.paths() == ["/hook"] * 3 and outbox.log() == ""


def test_what_a_host_does_not_know_is_not_tried_again(tmp_path, host):
    host.ways["/hook"] = 404
    outbox = Outbox(tmp_path, alert_url=f"{host.url}/hook")
    outbox.put()
    outbox.send()
    assert host.paths() == ["/hook"] and "it answered 404." in outbox.log()


def test_a_ping_follows_a_redirect_as_urllib_does(tmp_path, host):
    host.ways["/uuid/fail"] = 302
    outbox = Outbox(tmp_path, **{"task.Report.ping": f"{host.url}/uuid"})
    outbox.put()
    outbox.send()
    followed = [(request.method, request.path) for request in host.requests]
    assert followed == [("POST", "/uuid/fail"), ("GET", "/elsewhere")]
    assert outbox.log() == ""


def test_an_alert_that_a_redirect_would_rob_of_its_words_is_told_in_the_log(tmp_path, host):
    host.ways["/hook"] = 302
    outbox = Outbox(tmp_path, alert_url=f"{host.url}/hook")
    outbox.put()
    outbox.send()
    assert "could not be sent" in outbox.log() and "it sends us elsewhere" in outbox.log()


def test_a_host_that_keeps_us_waiting_is_given_up_and_the_others_in_its_lane_get_one_try(tmp_path, host):
    # Given a host that answers nobody, and two alerts for it
    host.ways["/hook"] = lambda handler: host.closing.wait(60) and None
    outbox = Outbox(tmp_path, alert_url=f"{host.url}/hook")
    outbox.put("First")
    outbox.put("Second")

    # When they are sent
    outbox.send(call_limit=0.1)

    # Then the first was tried thrice
    asked = [json.loads(request.body)["schedule"] for request in host.requests]
    assert asked == ["First"] * 3 + ["Second"]
    assert outbox.log().count("no answer within 0.1 s") == 2


def test_what_waits_for_a_host_that_is_down_for_long_is_not_even_tried(tmp_path, nobody):
    outbox = Outbox(tmp_path, alert_url=f"{nobody}/hook")
    for number in range(5):
        outbox.put(f"Report{number}")
    outbox.send(patience=0.0)
    assert outbox.log().count("Connection refused") == 1
    assert f"4 more for {nobody.removeprefix('http://')} were not sent: it does not answer." in outbox.log()


def test_a_command_that_was_killed_once_and_works_again_is_told_of_all_that_follows(tmp_path):
    # Given a command that hangs at its first alert
    (tmp_path / "tell").write_text("cat >> told; test -e hung && exec sleep 0.6; touch hung; exec sleep 100\n")
    outbox = Outbox(tmp_path, alert_command="sh tell")
    for name in ("First", "Second", "Third"):
        outbox.put(name)

    # When it is well again at the second, by whose end the patience with it would be at its end as well
    outbox.send(command_limit=2.0, patience=0.5)

    # Then it is told of the third, too
    assert outbox.log().count("was killed after 2 s.") == 1 and "not sent" not in outbox.log()
    assert (tmp_path / "told").read_text().count("\n") == 3


def test_a_host_that_answers_byte_by_byte_holds_nobody_for_ever(tmp_path, host):
    # Given a host that never comes to the end of its headers
    def drip(handler: BaseHTTPRequestHandler) -> None:
        try:
            while not host.closing.wait(0.02):
                handler.wfile.write(b"H")
                handler.wfile.flush()
        except OSError:
            pass

    host.ways["/hook"] = drip
    outbox = Outbox(tmp_path, alert_url=f"{host.url}/hook", alert_command="touch told")
    outbox.put()
    outbox.put("Other")

    # When both are to be told
    outbox.send(call_limit=0.1, command_limit=0.3)

    # Then that lane is given up, and the other is through
    assert "hangs on its way, and is given up." in outbox.log() and "1 more for" in outbox.log()
    assert (tmp_path / "told").exists()


def test_what_is_told_of_a_schedule_arrives_in_its_order(tmp_path, host):
    outbox = Outbox(tmp_path, **{"task.Report.ping": f"{host.url}/uuid"})
    runs = [a_run(attempt=attempt, state="failed", started_at=utc_now(), error="no") for attempt in range(1, 30)]
    with outbox.open() as store:
        for run in runs:
            store.tell(RunStarted.of(run, utc_now()))
            store.tell(RunFailed.of(run, utc_now(), failures=run.attempt))
    outbox.send()
    assert host.paths() == ["/uuid/start", "/uuid/fail"] * 29


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("https://hc-ping.com/8e3c", "https://hc-ping.com/…"), ("https://x?token=1", "https://x/…"),
        ("HTTPS://hc-ping.com/8e3c", "HTTPS://hc-ping.com/…"),
        ("env:HOOK", "env:HOOK"), ("mail -s secret anna", "mail …"), ("tell", "tell"),
    ],
)  # fmt: skip
def test_of_a_secret_anybody_may_see_its_host(said, shown):
    assert redacted(said) == shown
