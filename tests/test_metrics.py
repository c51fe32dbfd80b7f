"""What Prometheus reads of a site: as it wants it, and as it is."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from helpers import NOON, a_run, a_schedule, an_outcome, begun, ended, seconds, stored
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser
from rst import Document
from servers import missing
from sites import Site, until
from werkzeug.test import Client, TestResponse

from dracotask.clock import to_text
from dracotask.console.app import Console
from dracotask.errors import ControlError
from dracotask.metrics import METRICS, exposition
from dracotask.model import ENDED, NEVER_STARTED, Claim, Gap, Run
from dracotask.report.desk import Desk
from dracotask.stores.base import HOLD_NOTE, Store
from dracotask.stores.sqlite import SQLiteStore

MINUTE = timedelta(minutes=1)

TOKEN = "a-token-of-this-test"

#: What the names of schedules, and those of tasks that a dynamic schedule has outlived, could be.
HOSTILE = [
    'a"b', "a\\b", "a\\", "a\nb", "a\rb", "a\tb", "{a}", 'a",task="b', "# HELP x", "\u202egnp.exe", "\u2028",
    "\x1b[31m", "\x7f", "ä ö 😀", "'", "%s", "<script>alert(1)</script>", "..", "/", " ", "x" * 200, "NaN", "# EOF\n",
]  # fmt: skip

#: A number by the name of its metric and the values of its labels, in the order of the labels' names.
Numbers = dict[tuple[str, ...], float]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Desk]:
    """Return a site that has a store, and nothing in it."""
    docroot = tmp_path / "shop"
    docroot.mkdir()
    desk = Desk(str(docroot))
    desk.state.create()
    with desk.site.open_store():
        pass
    return desk


@pytest.fixture
def store(shop: Desk) -> Iterator[SQLiteStore]:
    with SQLiteStore(shop.state.store_file).open() as opened:
        yield opened


def read(text: str, parse: Any = parser.text_string_to_metric_families) -> Numbers:
    """Return what prometheus_client's own parser makes of the metrics."""
    found: Numbers = {}
    for family in parse(text):
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def scraped(desk: Desk, store: Store, now: datetime = NOON, **options: Any) -> Numbers:
    text, _ = exposition(desk, store, now, **options)
    return read(text.decode())


def of(numbers: Numbers, metric: str) -> dict[Any, float]:
    """Return the numbers of one metric by the values of its labels: by the value, where there is one label."""
    values = {key[1:]: number for key, number in numbers.items() if key[0] == f"dracotask_{metric}"}
    return {key[0] if len(key) == 1 else key: number for key, number in values.items()}


def of_schedule(numbers: Numbers, metric: str) -> dict[str, float]:
    return {name: number for (name, _), number in of(numbers, f"schedule_{metric}").items()}


def promtool(text: bytes) -> str:
    """Return what Prometheus' own tool has to say against the metrics."""
    if not shutil.which("promtool"):
        missing("promtool (Debian's package prometheus)")
    ended = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60)
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 0, said
    return said


# -- As Prometheus wants it --------------------------------------------------------------------


def test_promtool_has_nothing_to_say_against_the_metrics(shop, store):
    # Given a site where each of them has a value
    stored(store, a_schedule(next_fire_time=NOON + MINUTE))
    ended(store, a_run())
    shop.state.put_down_look("cron")

    # When Prometheus' own tool looks at names, units, suffixes and HELP
    text, kind = exposition(shop, store, NOON)

    # Then it finds no fault, and none of them is missing
    assert promtool(text) == ""
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert {name for name, *_ in read(text.decode())} == {metric.name for metric in METRICS}


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0", "text/plain; version=1.0.0"])
def test_hostile_names_come_out_of_the_parsers_as_they_went_in(shop, store, accept):
    # Given schedules whose names and tasks are of the worst
    for name in HOSTILE:
        stored(store, a_schedule(name, task=f"T{name}", next_fire_time=NOON + MINUTE))
        ended(store, a_run(f"T{name}", schedule=name))

    # When they are read again
    text, kind = exposition(shop, store, NOON, accept=accept, labels={"site": HOSTILE[0]})
    parse = parser.text_string_to_metric_families
    if "openmetrics" in kind:
        parse = openmetrics_parser.text_string_to_metric_families
    else:
        assert promtool(text) == ""
    numbers = read(text.decode(), parse)

    # Then each is there by its name, once
    held = [key for key in numbers if key[0] == "dracotask_schedule_held"]
    assert [key[1:] for key in held] == [(name, 'a"b', f"T{name}") for name in HOSTILE]
    assert {key[-1] for key in numbers if key[0] == "dracotask_runs_total"} == {f"T{name}" for name in HOSTILE}


def test_whoever_asks_for_openmetrics_gets_it(shop, store):
    stored(store, a_schedule())

    text, kind = exposition(shop, store, NOON, accept="application/openmetrics-text; version=1.0.0, text/plain; q=0.1")

    assert kind.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    families = {each.name: each for each in openmetrics_parser.text_string_to_metric_families(text.decode())}
    assert families["dracotask_runs"].type == "counter" and families["dracotask"].type == "info"
    assert families["dracotask_run_seconds"].unit == "seconds"
    assert text.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "accept",
    ["application/openmetrics-text; version=abc", "text/plain; version=x.1", "\0\n", "a" * 100_000, "é;version=9"],
)
def test_what_nobody_can_understand_gets_a_format_that_there_is(shop, store, accept):
    # (Releases of prometheus_client differ in what they take for OpenMetrics.)
    _, kind = exposition(shop, store, NOON, accept=accept)

    assert kind.startswith(("text/plain; version=0.0.4;", "application/openmetrics-text; version=1.0.0;"))


def test_nothing_of_the_program_around_is_among_them(shop, store):
    # Given a program with a metric of its own
    own = prometheus_client.Counter("shop_orders", "Orders.")
    try:
        text, _ = exposition(shop, store, NOON)

        # Then it is not among ours, nor ours among its own
        assert all(name.startswith("dracotask_") for name, *_ in read(text.decode()))
        assert b"dracotask" not in prometheus_client.generate_latest()
    finally:
        prometheus_client.REGISTRY.unregister(own)


@pytest.mark.parametrize("name", ["", "1a", "__name__", "a-b", "a b", "ä", "task", "state", "schedule"])
def test_a_label_that_cannot_be_added_is_refused(shop, store, name):
    with pytest.raises(ControlError):
        exposition(shop, store, NOON, labels={name: "x"})


# -- As it is ----------------------------------------------------------------------------------


def test_a_schedule_tells_when_it_is_due_and_how_late_it_is(shop, store):
    # Given one that is due in a minute, one that has been for a minute, one that is held, one on demand, and one gone
    stored(store, a_schedule("Soon", next_fire_time=NOON + MINUTE))
    stored(store, a_schedule("Late", next_fire_time=NOON - MINUTE))
    stored(store, a_schedule("Held", next_fire_time=NOON - MINUTE, held_at=NOON))
    stored(store, a_schedule("Asked", trigger=None))
    stored(store, a_schedule("Gone", next_fire_time=NOON - MINUTE, vanished_at=NOON))

    # When somebody asks
    numbers = scraped(shop, store)

    # Then what is held will not come, and is not late; of what is gone there is nothing
    moments = {"Soon": (NOON + MINUTE).timestamp(), "Late": (NOON - MINUTE).timestamp()}
    assert of_schedule(numbers, "next_fire_timestamp_seconds") == moments
    assert of_schedule(numbers, "late_seconds") == {"Soon": 0, "Late": 60, "Held": 0, "Asked": 0}
    assert of_schedule(numbers, "held") == {"Soon": 0, "Late": 0, "Held": 1, "Asked": 0}
    assert of(numbers, "site_held") == {(): 0}

    # And while the whole site is held, all of it is
    store.put_note(HOLD_NOTE, f"{to_text(NOON)}\tanna\tdeploy")
    numbers = scraped(shop, store)
    assert of(numbers, "site_held") == {(): 1}
    assert set(of_schedule(numbers, "held").values()) == {1}
    assert of_schedule(numbers, "next_fire_timestamp_seconds") == {}


def test_the_last_success_is_known_when_its_run_is_cleared_away_and_all_that_followed_has_failed(shop, store):
    # Given a success, and failures since
    stored(store, a_schedule())
    ended(store, a_run(), finished_at=NOON + seconds(3))
    for number in range(5):
        ended(store, a_run(), state="failed", finished_at=NOON + seconds(10 + number))

    # When all but the last is cleared away, and then that one too
    for keep in (1, 0):
        store.prune("Report", keep=keep, since=NOON - MINUTE)
        numbers = scraped(shop, store)

        # Then the success is still told, and so is the number of failures
        assert of_schedule(numbers, "last_success_timestamp_seconds") == {"Report": (NOON + seconds(3)).timestamp()}
        assert of_schedule(numbers, "failures_in_a_row") == {"Report": 5}
        assert of(numbers, "runs_total")["failed", "Report"] == 5

    # And a claim, which changes the schedule, forgets nothing of it
    schedule = store.schedule("Report")
    assert store.claim(schedule, Claim(next_fire_time=NOON + MINUTE, watermark=NOON), [], NOON)
    assert of_schedule(scraped(shop, store), "last_success_timestamp_seconds")

    # But who is removed and comes back is another
    assert store.remove_schedule(store.schedule("Report"))
    stored(store, a_schedule())
    assert of_schedule(scraped(shop, store), "last_success_timestamp_seconds") == {}


def test_the_duration_is_that_of_the_newest_run_that_was_at_work(shop, store):
    stored(store, a_schedule())
    ended(store, a_run(), finished_at=NOON + seconds(7))
    # One is at work now, and another was stopped before it began
    begun(store, a_run())
    unbegun = a_run()
    store.add_run(unbegun)
    store.request_stop(unbegun.id, by="anna", why=None, now=NOON)

    assert of_schedule(scraped(shop, store), "last_duration_seconds") == {"Report": 7}


def test_what_waits_is_told_apart_by_what_it_waits_for(shop, store):
    # Given a run that waits since two minutes, another since one, and one that failed and is to be tried again
    stored(store, a_schedule())
    for minutes in (2, 1):
        store.add_run(a_run(queued_at=NOON - minutes * MINUTE))
    retried = begun(store, a_run())
    store.finish(retried, an_outcome(state="failed", finished_at=NOON), retry_at=NOON + MINUTE)

    # Then the last is in nobody's queue until its time has come
    assert of(numbers := scraped(shop, store), "queue_runs") == {"start": 2, "retry": 1}
    assert of(numbers, "queue_wait_seconds") == {(): 120}
    assert of(scraped(shop, store, NOON + 2 * MINUTE), "queue_runs") == {"start": 3, "retry": 0}


def test_a_task_counts_from_nought_so_that_the_first_failure_is_seen_to_come(shop, store):
    stored(store, a_schedule())

    numbers = scraped(shop, store)

    assert of(numbers, "runs_total") == {(state, "Report"): 0 for state in (*ENDED, *NEVER_STARTED)}
    assert of(numbers, "run_seconds_total") == {(state, "Report"): 0 for state in ENDED}


def test_it_is_told_what_is_not_in_force(shop, store):
    # Given a site that was loaded, and then its files were broken
    store.put_note("files", "")
    assert of(scraped(shop, store), "load_ok") == {(): 1}
    store.put_note("problem", "line 7: invalid syntax")
    Path(shop.state.config_file).write_text("max_running = many")

    numbers = scraped(Desk(shop.docroot), store)

    assert (of(numbers, "load_ok"), of(numbers, "config_ok")) == ({(): 0}, {(): 0})
    assert of(numbers, "slots") == {(): 4}


# -- A mixed hour ------------------------------------------------------------------------------


class Ledger:
    """What becomes of an hour, as the test itself counts it."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self.succeeded_at: dict[str, float] = {}
        self.failures: Counter[str] = Counter()

    def end(self, run: Run, state: str, began: datetime, finished: datetime) -> None:
        self.runs[state, run.task] += 1
        self.seconds[state, run.task] += (finished - began).total_seconds()
        if state == "succeeded":
            self.succeeded_at[run.schedule] = finished.timestamp()
            self.failures[run.schedule] = 0
        elif state != "stopped":
            self.failures[run.schedule] += 1


def test_after_a_mixed_hour_each_number_is_that_of_the_store_and_no_counter_has_ever_fallen(shop, store):
    # Given three tasks, one of which has two more schedules
    names = {"Report": "Report", "Import": "Import", "Sweep": "Sweep", "eu": "Import", "us": "Import"}
    for name, task in names.items():
        stored(store, a_schedule(name, task=task))
    ledger, chance, before = Ledger(), random.Random(5), Counter[Any]()

    # When for an hour each of them ends somehow each minute, and old runs are cleared away every now and then
    for minute in range(60):
        now = NOON + minute * MINUTE
        for name, task in names.items():
            let_one_minute_pass(store, ledger, chance, name, task, now)
        if minute % 7 == 6:
            for task in set(names.values()):
                store.prune(task, keep=3, since=now - 10 * MINUTE)

        # Then every minute the counters are what they must be, and none is less than it was
        numbers = scraped(shop, store, now)
        runs = of(numbers, "runs_total")
        assert {key: number for key, number in runs.items() if number} == ledger.runs
        assert of(numbers, "run_seconds_total") == pytest.approx(
            {key: ledger.seconds.get(key, 0) for key in runs if key[0] in ENDED}
        )
        assert all(runs[key] >= number for key, number in before.items())
        before = runs

    # And so are the others
    assert sum(ledger.runs.values()) > 300 and {state for state, _ in ledger.runs} == {*ENDED, *NEVER_STARTED}
    assert of_schedule(numbers, "last_success_timestamp_seconds") == ledger.succeeded_at
    assert of_schedule(numbers, "failures_in_a_row") == {name: ledger.failures[name] for name in names}
    assert of_schedule(numbers, "running_runs") == dict.fromkeys(names, 0)


def let_one_minute_pass(
    store: Store, ledger: Ledger, chance: random.Random, name: str, task: str, now: datetime
) -> None:
    """Let a schedule's fire time be claimed, and end in one way or another."""
    schedule = store.schedule(name)
    assert schedule is not None
    state = chance.choice(["succeeded", "succeeded", *ENDED, *NEVER_STARTED])
    claim: dict[str, Any] = {"next_fire_time": now + MINUTE, "watermark": now}
    if state == "missed":
        count = chance.randint(1, 3)
        gap = Gap(state="missed", first=now - (count - 1) * seconds(1), last=now, count=count, reason="too late")
        assert store.claim(schedule, Claim(gaps=[gap], **claim), [], now)
        ledger.runs["missed", task] += count
        return
    run = a_run(task, schedule=name, fire_time=now, queued_at=now)
    assert store.claim(schedule, Claim(fire_times=[now], **claim), [run], now)
    if state == "skipped":
        assert store.skip(run, "a run of it is at work", now)
        ledger.runs["skipped", task] += 1
        return
    taken = store.take(run, token="mine", host="here", pid=1, now=now, limit=1)
    assert taken is not None and taken.state == "running"
    finished = now + seconds(chance.randint(0, 50))
    assert store.finish(taken, an_outcome(state=state, finished_at=finished)) is not None
    ledger.end(run, state, now, finished)


TASKS = """
class Good(Task):
    def run(self): pass

class Bad(Task):
    def run(self): raise ValueError("no")

class Long(Task):
    time_limit = 0.2
    stop_grace = 0.1
    def run(self): wait_at_gate()

class Waiting(Task):
    def run(self):
        tell(self)
        wait_at_gate()
"""


def counted(site: Site) -> Counter[tuple[str, str]]:
    """Return how many runs are over, as the command line tells it."""
    runs = json.loads(site.run("runs", "--json", "-n", "1000").stdout)
    return Counter((run["state"], run["task"]) for run in runs if run["finished_at"])


def printed(site: Site, *options: str) -> Numbers:
    ended = site.run("metrics", *options)
    assert (ended.returncode, ended.stderr) == (0, "")
    return read(ended.stdout)


def test_what_really_ran_is_counted_however_it_ended_and_when_it_is_cleared_away(site):
    # Given real runs of real tasks: two good ones, a bad one, one beyond its time
    site.write(TASKS)
    for task in ("Good", "Good", "Bad", "Long"):
        site.run(task)

    # One that another kept from beginning, and was then stopped
    stopped = site.start("Waiting")
    site.wait_for("start")
    assert of_schedule(printed(site), "running_runs")["Waiting"] == 1
    assert site.run("Waiting").returncode == 75
    assert site.run("stop", "Waiting").returncode == 0
    stopped.communicate(timeout=60)

    # And one that died with its supervisor, which the next tick finds
    site.start("Waiting")
    site.wait_for("start", 2)
    os.kill(site.active()[0].pid, signal.SIGKILL)
    until(lambda: not site.locks_held(), "the supervisor's locks are let go")
    assert of_schedule(printed(site), "running_runs")["Waiting"] == 0
    site.due()

    # When they are counted
    numbers, truth = printed(site), counted(site)

    # Then the metrics say the same as the command line
    runs = of(numbers, "runs_total")
    assert {key: number for key, number in runs.items() if number} == truth == {
        ("succeeded", "Good"): 2, ("failed", "Bad"): 1, ("timed_out", "Long"): 1, ("skipped", "Waiting"): 1,
        ("stopped", "Waiting"): 1, ("lost", "Waiting"): 1,
    }  # fmt: skip
    took: dict[tuple[str, str], float] = defaultdict(float)
    for run in site.runs():
        if run.started_at and run.finished_at:
            took[run.state, run.task] += (run.finished_at - run.started_at).total_seconds()
    worked = {key: number for key, number in of(numbers, "run_seconds_total").items() if number}
    assert worked == pytest.approx(took)
    looked = of(numbers, "last_look_timestamp_seconds")
    assert set(looked) == {"cron"} and looked["cron"] == pytest.approx(
        site.state.last_seen()["cron"].timestamp(), abs=0.001
    )

    # And they go on saying so when nothing is kept of them
    site.put("dracotask.toml", 'keep_days = "1ms"\n')
    assert site.run("load").returncode == 0
    with site.store() as store:
        store.put_note("pruned_at", None)
    site.due()
    assert counted(site) == {}
    assert of(printed(site), "runs_total") == runs


# -- The command -------------------------------------------------------------------------------


@pytest.fixture
def loaded(site: Site) -> Site:
    site.write("class Good(Task):", "    def run(self): pass")
    assert site.run("load").returncode == 0
    return site


def test_a_file_for_the_textfile_collector_is_there_whole_for_all_to_read_or_as_it_was(loaded, tmp_path):
    # Given a folder that the collector looks into, and a umask that lets nobody read anything
    folder = tmp_path / "collector"
    folder.mkdir()
    file = folder / "shop.prom"

    # When the metrics are put there
    ended = loaded.run("metrics", "-o", str(file), "--label", "site=shop", umask=0o077)

    # Then the collector may read them, and nothing lies beside them
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert of(read(file.read_text()), "schedule_held") == {("Good", "shop", "Good"): 0}
    assert os.listdir(folder) == ["shop.prom"]
    promtool(file.read_bytes())

    # And where there is nothing to tell, or no room for it, the old file stays
    before = file.read_bytes()
    os.rename(loaded.state.path, f"{loaded.state.path}.away")
    ended = loaded.run("metrics", "-o", str(file))
    assert (ended.returncode, ended.stdout) == (2, "") and "never looked at" in ended.stderr
    assert file.read_bytes() == before and os.listdir(folder) == ["shop.prom"]
    os.rename(f"{loaded.state.path}.away", loaded.state.path)
    ended = loaded.run("metrics", "-o", str(folder / "no" / "such.prom"))
    assert (ended.returncode, ended.stdout) == (2, "") and "cannot be written" in ended.stderr


def test_a_label_that_is_none_is_a_wrong_command_line(loaded):
    for label in ("site", "=x", "task=x", "a-b=x"):
        ended = loaded.run("metrics", "--label", label)
        assert (ended.returncode, ended.stdout) == (2, ""), label


def test_without_prometheus_client_it_is_said_what_to_install(loaded, tmp_path):
    # Given an interpreter that lacks it
    (tmp_path / "lacks" / "prometheus_client").mkdir(parents=True)
    (tmp_path / "lacks" / "prometheus_client" / "__init__.py").write_text("raise ImportError('no such thing')")

    ended = loaded.run("metrics", env={"PYTHONPATH": str(tmp_path / "lacks")})

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "dracotask: Metrics need prometheus_client: pip install dracotask[metrics]\n"


# -- Over HTTP ---------------------------------------------------------------------------------


def asked(site: Site, *, authorize: Any = None, **headers: str) -> TestResponse:
    client = Client(Console(str(site.docroot), authorize=authorize))
    return client.get("/metrics", headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_visitor_who_may_look_sees_the_metrics_as_they_are(loaded):
    answer = asked(loaded, authorize=lambda environ: "read")

    assert answer.status_code == 200
    assert of(read(answer.text), "schedule_held") == {("Good", "Good"): 0}
    assert promtool(answer.data) == ""
    assert answer.headers["Cache-Control"] == "no-store"
    answer = asked(loaded, authorize=lambda environ: "read", Accept="application/openmetrics-text")
    assert answer.data.endswith(b"# EOF\n")


def test_a_stranger_is_told_how_to_come_in_and_the_store_is_not_touched(loaded):
    # Given a store that ends in ruin when it is opened
    Path(loaded.state.store_file).write_text("no database")

    for said in ("", "Bearer", "Bearer ", f"Bearer {TOKEN}", "Basic x"):
        headers = {"Authorization": said} if said else {}
        answer = asked(loaded, **headers)

        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "metrics_token" in answer.text
        assert asked(loaded, authorize=lambda environ: None, **headers).status_code == 401


@pytest.mark.parametrize("said", [TOKEN, "env:SHOP_METRICS"])
def test_a_machine_comes_in_with_the_token_of_the_site(loaded, monkeypatch, said):
    # Given a site that has one, in its file or in the environment
    loaded.put("dracotask.toml", f'metrics_token = "{said}"\n')
    monkeypatch.setenv("SHOP_METRICS", TOKEN)

    # Then whoever sends it comes in, and nobody else
    assert asked(loaded, Authorization=f"Bearer {TOKEN}").status_code == 200
    assert asked(loaded, Authorization=f"bearer  {TOKEN} ").status_code == 200
    for wrong in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "Ω" * 20, "\x80" * 20, "", said if said != TOKEN else "None"):
        client = Client(Console(str(loaded.docroot)))
        answer = client.get("/metrics", environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {wrong}"})
        assert answer.status_code == 401, wrong

    # And authorize(), which has its say on visitors, has none on machines
    assert asked(loaded, authorize=lambda environ: None, Authorization=f"Bearer {TOKEN}").status_code == 200


def test_a_token_that_is_no_ascii_works_as_well(loaded):
    token = "größer-als-sechzehn-Ω"
    loaded.put("dracotask.toml", f'metrics_token = "{token}"\n')

    in_bytes = token.encode().decode("latin-1")
    client = Client(Console(str(loaded.docroot)))

    assert client.get("/metrics", environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {in_bytes}"}).status_code == 200


@pytest.mark.parametrize("variable", [None, "short", "env:OTHER"])
def test_a_variable_that_holds_no_token_lets_nobody_in(loaded, monkeypatch, variable):
    loaded.put("dracotask.toml", 'metrics_token = "env:SHOP_METRICS"\n')
    monkeypatch.delenv("SHOP_METRICS", raising=False)
    if variable is not None:
        monkeypatch.setenv("SHOP_METRICS", variable)

    for sent in (variable or "", "None", "env:SHOP_METRICS"):
        assert asked(loaded, Authorization=f"Bearer {sent}").status_code == 401

    # And check says so
    assert re.search(r"metrics_token: .*SHOP_METRICS", loaded.run("check").stdout)


def test_the_token_is_shown_nowhere(loaded):
    # Given a site with a token
    loaded.put("dracotask.toml", f'metrics_token = "{TOKEN}"\n')
    client = Client(Console(str(loaded.docroot), authorize=lambda environ: "write"))

    # When its configuration is looked at in all ways there are
    shown = [loaded.run("check").stdout, loaded.run("check", "--json").stdout]
    shown += [client.get(f"/{page}").text for page in ("setup", "setup.json", "metrics", "health?format=json")]

    # Then all say that there is one, and none what it is
    assert [page for page in shown if TOKEN in page] == []
    assert all("metrics_token" in page for page in shown[:4])
    assert json.loads(shown[1])["config"]["metrics_token"] == {"value": "set", "origin": "dracotask.toml"}
    assert json.loads(shown[3])["config"]["metrics_token"]["value"] == "set"

    # And a wrong one is not repeated by whoever complains of it
    loaded.put("dracotask.toml", 'metrics_token = "letmein"\n')
    said = loaded.run("check")
    assert said.returncode == 2 and "16 letters" in said.stdout and "letmein" not in said.stdout + said.stderr


# -- As they are documented --------------------------------------------------------------------


def test_the_reference_knows_every_metric_and_its_labels():
    shown = Document("docs/reference.rst").table("Metric")

    assert {name: cells[0].split() for name, cells in shown.items()} == {
        metric.name: [*metric.labels] for metric in METRICS
    }
    assert list(shown) == [metric.name for metric in METRICS]


def test_prometheus_takes_what_the_how_to_shows(tmp_path):
    # Given the snippets there
    scrape, rules, relabel = (each.text for each in Document("docs/howto.rst").snippets("yaml"))
    (tmp_path / "rules.yml").write_text(rules)
    indented = relabel.replace("\n", "\n    ")
    (tmp_path / "prometheus.yml").write_text(f"{scrape}\n    {indented}\nrule_files: [rules.yml]\n")

    # When Prometheus' own tool reads them
    if not shutil.which("promtool"):
        missing("promtool (Debian's package prometheus)")
    for words in (["config", "--syntax-only", tmp_path / "prometheus.yml"], ["rules", tmp_path / "rules.yml"]):
        ended = subprocess.run(["promtool", "check", *words], capture_output=True, text=True, timeout=60)

        # Then they are what they are said to be
        assert ended.returncode == 0, ended.stdout + ended.stderr

    # And speak of metrics that there are
    assert set(re.findall(r"dracotask_\w+\b(?!\.)", rules)) <= {metric.name for metric in METRICS}
