"""Is all well? One word for anybody who asks, and what is behind it for those who may look."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import NOON, a_run, a_schedule, ended, seconds, stored
from sites import Site
from werkzeug.test import Client, TestResponse

from dracotask.clock import to_text, utc_now
from dracotask.console.app import Console
from dracotask.console.pages import watch
from dracotask.console.pages.watch import GOOD_FOR, LONGEST_LOOK, MOST_SITES, Remembered
from dracotask.report.desk import Desk
from dracotask.report.health import WORDS, Circumstances, Health, Trouble, examine, judge
from dracotask.stores.base import Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.reading import Glance

MINUTE = timedelta(minutes=1)

TOKEN = "a-token-of-this-test"

WELL = Health(NOON)


@pytest.fixture
def store() -> Iterator[Store]:
    with MemoryStore().open() as opened:
        yield opened


def a_glance(name: str = "Report", **facts: Any) -> Glance:
    plain = {
        "name": name, "task": name, "declared": True, "description": "", "in_force": "every 1h",
        "next_fire_time": NOON + MINUTE, "failures": 0,
    }  # fmt: skip
    return Glance(**{**dict.fromkeys(Glance._fields), **plain, **facts})


def judged(*glances: Glance, failed: Any = None, given_up: Any = (), **site: Any) -> list[tuple[str, str | None]]:
    """Return what is wrong: of each trouble its word, and the name of the schedule."""
    circumstances = Circumstances(**{"late_after": 300.0, **site})
    health = judge(glances, circumstances, NOON, failed=failed, given_up=given_up)
    return [(trouble.word, trouble.schedule) for trouble in health.troubles]


# -- Judging -----------------------------------------------------------------------------------


def test_nothing_wrong_is_ok():
    health = judge([a_glance()], Circumstances(late_after=300), NOON)

    assert (health.word, health.is_well, health.troubles) == ("ok", True, [])


def test_what_is_late_is_so_after_the_time_that_the_site_allows():
    assert judged(a_glance(next_fire_time=NOON - seconds(300))) == []
    assert judged(a_glance(next_fire_time=NOON - seconds(301))) == [("late", "Report")]
    assert judged(a_glance(next_fire_time=NOON - seconds(301)), late_after=600.0) == []
    assert judged(a_glance(next_fire_time=None, in_force=None)) == []


def test_a_failure_is_red_until_a_success():
    assert judged(a_glance(failures=1)) == [("failing", "Report")]
    # Also on demand, and although it is at work again
    assert judged(a_glance(failures=1, in_force=None, next_fire_time=None, last_state="running")) == [
        ("failing", "Report")
    ]


@pytest.mark.parametrize("facts", [{"held_at": NOON}, {"vanished_at": NOON}])
def test_what_is_held_or_gone_is_not_red(facts):
    assert judged(a_glance(failures=3, next_fire_time=NOON - MINUTE * 60, **facts)) == []


def test_what_was_let_alone_after_so_many_failures_is_not_well_again():
    # Given a schedule that nobody holds but dracotask itself
    glance = a_glance(failures=3, held_at=NOON, next_fire_time=NOON - MINUTE * 60)

    # Then it is failing, but not late: it is not to begin
    assert judged(glance, given_up={"Report"}) == [("failing", "Report")]


def test_a_site_at_rest_is_only_red_when_it_is_broken():
    glances = [a_glance(failures=1), a_glance("Late", next_fire_time=NOON - MINUTE * 60)]

    assert judged(*glances, is_at_rest=True, nobody="nobody has looked yet") == []
    assert judged(*glances, is_at_rest=True, broken="line 7") == [("broken", None)]
    assert judged(*glances, is_at_rest=True, is_writable=False) == [("readonly", None)]


def test_that_nobody_looks_matters_where_something_would_come_by_itself():
    assert judged(a_glance(), nobody="nobody has looked yet") == [("nobody", None)]
    assert judged(a_glance(in_force=None, next_fire_time=None), nobody="nobody has looked yet") == []
    assert judged(a_glance(held_at=NOON), nobody="nobody has looked yet") == []


def test_the_most_serious_comes_first_and_is_the_word():
    troubles = judged(
        a_glance("Failing", failures=1), a_glance("Late", next_fire_time=NOON - MINUTE * 60), nobody="nobody",
        broken="line 7", is_writable=False,
    )  # fmt: skip

    assert [word for word, _ in troubles] == ["readonly", "broken", "nobody", "late", "failing"]
    assert [word for word in WORDS if word in dict(troubles)] == [word for word, _ in troubles]


def test_it_is_told_since_when_and_why():
    run = a_run(id="0" * 26, state="failed", error="ValueError: no", finished_at=NOON - MINUTE)
    late = a_glance("Late", next_fire_time=NOON - MINUTE * 60)
    site = Circumstances(late_after=300.0, broken="line 7: invalid syntax")

    health = judge([late, a_glance(failures=2)], site, NOON, failed={"Report": run})

    assert health.as_json() == {
        "health": "broken",
        "at": "2026-11-21T12:00:00Z",
        "troubles": [
            {"word": "broken", "schedule": None, "since": None, "why": "line 7: invalid syntax"},
            {
                "word": "late", "schedule": "Late", "since": "2026-11-21T11:00:00Z",
                "why": "it is due and has not begun",
            },
            {
                "word": "failing", "schedule": "Report", "since": "2026-11-21T11:59:00Z",
                "why": f"2 failures in a row, run {'0' * 26}: ValueError: no",
            },
        ],
    }  # fmt: skip
    assert [each.word for each in health.of("Late").troubles] == ["broken", "late"]


def test_what_dracotask_holds_for_its_failures_is_told_from_what_people_hold(store, tmp_path):
    # Given two that have failed three times: one holds dracotask itself, the other anna
    desk = Desk(str(tmp_path))
    desk.state.create()
    desk.state.write_next(None, "")
    for name, by in (("Alone", "dracotask"), ("Known", "anna")):
        stored(store, a_schedule(name, failures=3, held_at=NOON, held_by=by))
    # And a third that has just failed, with a run before that was well
    stored(store, a_schedule("Third"))
    ended(store, a_run("Third"))
    ended(store, a_run("Third"), state="timed_out", error="after 5s")

    troubles = examine(desk, store, utc_now()).troubles

    assert [(each.word, each.schedule) for each in troubles] == [("failing", "Alone"), ("failing", "Third")]
    assert troubles[1].why.startswith("its last run failed, run ") and troubles[1].why.endswith(": after 5s")
    assert troubles[1].since == NOON + seconds(5)


# -- Remembering -------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_store_is_asked_once_in_a_few_seconds_however_many_ask(clock):
    # Given many who ask
    remembered, looks = Remembered(clock), []
    look: Callable[[], Health] = lambda: looks.append(clock.now) or WELL  # type: ignore[func-returns-value]  # noqa: E731
    for _ in range(1000):
        assert remembered.health("/srv/shop", look, Health(NOON)) is WELL
    assert len(looks) == 1

    # When the answer is old, the next one has it looked for again
    clock.now += GOOD_FOR + 0.1
    remembered.health("/srv/shop", look, Health(NOON))
    assert len(looks) == 2

    # And another site is another matter
    remembered.health("/srv/bank", look, Health(NOON))
    assert len(looks) == 3


def test_while_one_looks_the_others_are_answered_with_what_was_found_before(clock):
    remembered, busy = Remembered(clock), Health(NOON, [Trouble("busy", "somebody looks")])

    # Given one that looks for the first time, and others that come meanwhile
    def look() -> Health:
        seen.append(remembered.health("/srv/shop", pytest.fail, busy))
        return WELL

    seen: list[Health] = []
    assert remembered.health("/srv/shop", look, busy) is WELL
    assert seen == [busy]

    # Then later, when there is an answer from before, they get that
    clock.now += GOOD_FOR + 0.1
    remembered.health("/srv/shop", look, busy)
    assert seen == [busy, WELL]

    # But who does not come back is not waited for for ever
    def look_for_ever() -> Health:
        clock.now += LONGEST_LOOK + 0.1
        return remembered.health("/srv/shop", lambda: WELL, busy)

    clock.now += GOOD_FOR + 0.1
    assert remembered.health("/srv/shop", look_for_ever, busy) is WELL


def test_a_look_that_breaks_is_taken_again_by_the_next(clock):
    remembered = Remembered(clock)

    def breaks() -> Health:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        remembered.health("/srv/shop", breaks, WELL)
    assert remembered.health("/srv/shop", lambda: WELL, Health(NOON)) is WELL


def test_no_more_than_so_many_sites_are_remembered(clock):
    remembered = Remembered(clock)
    for number in range(3 * MOST_SITES):
        remembered.health(f"/srv/{number}", lambda: WELL, WELL)

    assert len(remembered._found) <= MOST_SITES


# -- Over HTTP ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def remember_nothing(monkeypatch):
    monkeypatch.setattr(watch, "_remembered", Remembered())


@pytest.fixture
def shop(site: Site) -> Site:
    """Return a site that somebody looks after, with a task that is due at some time, and one on demand."""
    site.write(
        "class Nightly(Task):", "    def __init__(self): self.schedule(hour=3)", "    def run(self): pass",
        "class Asked(Task):", "    def run(self): open('well').close()",
    )  # fmt: skip
    site.due()
    return site


def asked(site: Site, query: str = "", *, authorize: Any = None, method: str = "GET", token: str = "") -> TestResponse:
    """Return the answer to somebody who asks anew."""
    watch._remembered = Remembered()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    client = Client(Console(str(site.docroot), authorize=authorize))
    return client.open(f"/health{query}", method=method, headers=headers)


def told(site: Site, query: str = "?format=json") -> tuple[int, Any]:
    """Return the status, and what is told to somebody who may look."""
    answer = asked(site, query, authorize=lambda environ: "read")
    return answer.status_code, json.loads(answer.data)


def let_it_be_late(site: Site, name: str) -> None:
    with site.store() as store:
        schedule = store.schedule(name)
        assert schedule is not None and store.put_schedule(schedule.but(next_fire_time=utc_now() - MINUTE * 60))


def test_a_site_with_which_all_is_well_says_so_to_anybody(shop):
    answer = asked(shop)

    assert (answer.status_code, answer.text, answer.mimetype) == (200, "ok\n", "text/plain")
    assert answer.headers["Cache-Control"] == "no-store"
    head = asked(shop, method="HEAD")
    assert (head.status_code, head.data) == (200, b"")
    assert told(shop)[1]["troubles"] == []


def test_a_task_that_fails_turns_it_red_and_a_success_green_again(shop):
    # Given a task that needs a folder which is not there
    shop.write("class Asked(Task):", "    def run(self): open('folder/well', 'w').close()")
    shop.run("Asked")
    shop.due()

    # Then a stranger is told that something fails, and nothing else
    for query in ("", "?format=json"):
        answer = asked(shop, query)
        assert answer.status_code == 503
        assert "failing" in answer.text and "Asked" not in answer.text
    assert asked(shop, method="HEAD").status_code == 503

    # And whoever may look is told what, since when and why
    status, facts = told(shop)
    (trouble,) = facts["troubles"]
    assert (status, trouble["word"], trouble["schedule"]) == (503, "failing", "Asked")
    assert "FileNotFoundError" in trouble["why"] and shop.last_run("Asked").id in trouble["why"]

    # When the folder is made and the task is well
    (shop.docroot / "folder").mkdir()
    shop.run("Asked")
    assert asked(shop).text == "ok\n"


def test_a_task_that_is_late_turns_it_red_unless_somebody_holds_it(shop):
    let_it_be_late(shop, "Nightly")

    assert (asked(shop).status_code, asked(shop).text) == (503, "late\n")
    assert told(shop)[1]["troubles"][0]["schedule"] == "Nightly"

    shop.run("hold", "Nightly")
    assert (asked(shop).status_code, asked(shop).text) == (200, "ok\n")


def test_a_broken_file_turns_it_red(shop):
    shop.write("class Nightly(Task:")
    shop.due()
    assert asked(shop).text == "broken\n"
    assert "line" in told(shop)[1]["troubles"][0]["why"]

    shop.write("class Nightly(Task):", "    def run(self): pass")
    assert shop.run("load").returncode == 0
    assert asked(shop).text == "ok\n"

    shop.put("dracotask.toml", "max_running = many")
    assert asked(shop).text == "broken\n"
    assert "not TOML" in told(shop)[1]["troubles"][0]["why"]


def test_a_site_that_nobody_looks_after_is_red(shop):
    minutes_ago = utc_now().timestamp() - 600
    os.utime(shop.state.next_file, (minutes_ago, minutes_ago))

    assert asked(shop).text == "nobody\n"
    (trouble,) = told(shop)[1]["troubles"]
    assert trouble["why"].startswith("nobody has looked for what is due for 10m")


def test_a_site_that_nobody_has_ever_looked_at_is_red(site):
    site.write("class Nightly(Task):", "    def run(self): pass")

    assert (asked(site).status_code, asked(site).text) == (503, "nobody\n")


def test_a_store_that_cannot_be_read_is_red_and_strangers_learn_no_path(shop):
    Path(shop.state.store_file).write_text("no database" * 100)

    for query in ("", "?format=json"):
        answer = asked(shop, query)
        assert answer.status_code == 503 and "unusable" in answer.text and str(shop.docroot) not in answer.text
    assert shop.state.store_file in told(shop)[1]["troubles"][0]["why"]


def test_a_state_folder_that_cannot_be_written_is_red(shop, monkeypatch):
    # (Root may write anywhere.)
    can_access, no_more = os.access, (shop.state.path, os.W_OK)
    monkeypatch.setattr(os, "access", lambda *asked: asked != no_more and can_access(*asked))

    assert asked(shop).text == "readonly\n"


def test_a_store_that_stays_locked_is_busy(shop, monkeypatch):
    # Given somebody who keeps even readers out
    monkeypatch.setattr(watch, "PATIENCE", 0.05)
    with shop.store() as locking:
        locking._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        locking._connection.execute("BEGIN EXCLUSIVE")
        try:
            answer = asked(shop)
        finally:
            locking._connection.execute("ROLLBACK")

    assert (answer.status_code, answer.text) == (503, "busy\n")


def test_one_task_alone_is_told_to_those_who_may_look(shop):
    let_it_be_late(shop, "Nightly")
    shop.put("dracotask.toml", f'metrics_token = "{TOKEN}"\n')

    # Given a machine with the site's token
    assert asked(shop, "?task=Nightly", token=TOKEN).text == "late\n"
    assert asked(shop, "?task=Asked", token=TOKEN).text == "ok\n"
    assert asked(shop, "?task=Nix", token=TOKEN).status_code == 404

    # Then a stranger does not even learn which tasks there are
    for name in ("Nightly", "Asked", "Nix"):
        answer = asked(shop, f"?task={name}")
        assert answer.status_code == 403 and "late" not in answer.text and name not in answer.text


def test_a_task_that_is_gone_from_the_file_is_no_news_but_for_whoever_asks_for_it(shop):
    shop.write("class Asked(Task):", "    def run(self): pass")
    assert shop.run("load").returncode == 0
    with shop.store() as store:
        schedule = store.schedule("Nightly")
        assert schedule is not None and store.put_schedule(schedule.but(vanished_at=NOON, failures=1))

    assert asked(shop).text == "ok\n"
    assert asked(shop, "?task=Nightly", authorize=lambda environ: "read").status_code == 404


def test_many_strangers_at_once_have_the_store_opened_once(shop, monkeypatch):
    # Given a look that lasts as long as others come
    looks, is_looking, may_end = [], threading.Event(), threading.Event()

    def slow(desk: Desk, store: Store, now: Any) -> Health:
        looks.append(now)
        is_looking.set()
        assert may_end.wait(60)
        return WELL

    monkeypatch.setattr(watch, "examine", slow)
    client = Client(Console(str(shop.docroot)))
    answers: list[TestResponse] = []
    first = threading.Thread(target=lambda: answers.append(client.get("/health")))
    first.start()
    assert is_looking.wait(60)

    # When many come meanwhile, they are not kept waiting
    others = [Client(Console(str(shop.docroot))).get("/health").text for _ in range(50)]
    may_end.set()
    first.join()

    # Then one has looked, and from now on all know what it has found
    assert others == ["busy\n"] * 50
    assert [answer.text for answer in answers] == ["ok\n"]
    assert Client(Console(str(shop.docroot))).get("/health").text == "ok\n"
    assert len(looks) == 1


def test_hostile_questions_are_answered_too(shop):
    hostile = ("%00", "x" * 10_000, "%ff", "<script>&format=json", "../..", "&=&&", "%0d%0aX:+y", "A&format=<")
    for query in [f"?task={each}" for each in hostile]:
        for authorize in (None, lambda environ: "read"):
            answer = asked(shop, query, authorize=authorize)
            assert answer.status_code in (200, 403, 404), query
            assert "<script>" not in answer.text.lower().replace("<script src", "")


def test_the_hold_of_the_site_lets_monitors_sleep(shop):
    let_it_be_late(shop, "Nightly")
    with shop.store() as store:
        store.put_note("hold", f"{to_text(NOON)}\tanna\tdeploy")

    assert asked(shop).text == "ok\n"
